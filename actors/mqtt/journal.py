"""The crash journal: which message was in hand when the process died.

A handler notes each message before the author's code runs, and clears the note behind it. A `kill -9`, a segfault, a memory that
ran out leave it: the next process holds the message suspect. Laws. One that two processes have died of is not run a third
time. Suspects are begun one at a time, so that the innocent who was in hand beside the guilty is not condemned with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
import trio

from .in_flight import Delivery, Work
from .journal_file import JournalFile, Suspect
from .keys import bounded
from .pulse import Pulse

MAX_DEATHS: Final = 2
"""A message that has been in hand at so many deaths of the process is a dead letter."""
TURN_S: Final = 1.0
"""So long suspects wait for each other. What kills mostly kills at once; one that is only slow must not hold its neighbours."""

OnState: TypeAlias = Callable[[str | None], None]


def known_by(delivery: Delivery) -> str:
    """What tells the message in another process: its key, or where it has none its topic and a digest of its payload."""
    if delivery.lasting:
        return delivery.key
    inbound = delivery.inbound
    return bounded(f"{inbound.topic}|~{hashlib.blake2b(inbound.payload, digest_size=16).hexdigest()}")


@attrs.define(eq=False)
class Journal:
    """Owned by the tree. Without a file nothing is noted. Nothing here waits but `turn`."""

    on_state: OnState = lambda _: None
    suspects: dict[Suspect, int] = attrs.field(factory=dict, init=False)  # deaths of the process with it in hand
    _file: JournalFile | None = attrs.field(default=None, init=False)
    _places: dict[str, int] = attrs.field(factory=dict, init=False)  # by the actor's name
    _turn: str | None = attrs.field(default=None, init=False)  # the actor that runs a suspect
    _turned: Pulse = attrs.field(factory=Pulse, init=False)
    _works: bool = attrs.field(default=True, init=False)

    def use(self, file: JournalFile | None) -> None:
        """Note in `file` from now on."""
        self._file, self._works = file, True
        if file is not None:
            self.suspects.update(file.suspects)

    def deaths(self, work: Work) -> int:
        """How many processes have died with this in hand?"""
        return self.suspects.get((work.subscription.id, known_by(work.delivery)), 0) if self.suspects else 0

    async def turn(self, actor: str) -> None:
        """Return when no other actor runs a suspect; after `TURN_S` all the same. `end` gives the turn on."""
        with trio.move_on_after(TURN_S):
            while self._turn is not None:
                await self._turned.wait()
        self._turn = actor

    def begin(self, actor: str, work: Work, attempt: int) -> None:
        """The author's code is about to run."""
        if self._file is None:
            return
        place = self._places.get(actor)
        if place is None:
            place = self._places[actor] = len(self._places)
        try:
            self._file.note(place, self.deaths(work), attempt, (work.subscription.id, known_by(work.delivery)))
        except OSError as error:  # a full disk: messages are handled all the same
            if self._works:
                self._works = False
                self.on_state(f"the crash journal cannot be written: {error.strerror}")
            return
        if not self._works:
            self._works = True
            self.on_state(None)

    def end(self, actor: str) -> None:
        """It has come back."""
        if self._file is not None and actor in self._places:
            self._file.clear(self._places[actor])
        if self._turn == actor:
            self._turn = None
            self._turned.beat()

    def settled(self, delivery: Delivery) -> None:
        """Nothing is held any more against what was handled, or has become a dead letter.

        Except against a retained message that was not handled: the broker shows it again at every connection.
        """
        for subscription in delivery.succeeded if delivery.inbound.retain else delivery.given:
            suspect = (subscription, known_by(delivery))
            if self.suspects.pop(suspect, None) is not None and self._file is not None:
                self._file.forget(suspect)
