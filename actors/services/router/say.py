"""`Say`: one sentence the router decided to speak. The pure modules return it, the actor publishes it as `tts/say`.

Voice and language are the same for every sentence, so they are not here: the actor adds them from the settings.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Say:
    """What to speak. `utt_id` ties the sentences of one answer together.

    `correlation_id` None: the sentence correlates with the message being handled. `stt_ts` is the transcript's
    own time in epoch seconds. The flags tell the speech service and our own gate what the sentence is not: an answer.
    """

    text: str
    utt_id: str | None = None
    style: str = "neutral"
    stt_ts: float | None = None
    wake_ack: bool = False
    system_announce: bool = False
    correlation_id: str | None = None
