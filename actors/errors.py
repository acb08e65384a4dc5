"""What a service's author may say when a message goes wrong, beside the words of the runtime (`Unavailable`, `Stop`, ...).

Imports nothing of ours.
"""

from __future__ import annotations


class Reject(Exception):
    """The message can never be handled: it is a dead letter at once, without a retry and without a restart.

    `reason` is for whoever reads the dead letter. Not for a backend that is down: that is `Unavailable`, which keeps
    the message.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason
