"""Is the utterance a movement command? Only when it is nothing else.

The table of phrases is the old robot's; its substring test is not: there "do you know" meant `now`, "rainbow"
`bow`, "reset my password" `reset`. Here the whole utterance, without the words of politeness around it, has to be
a phrase of the table. Anything longer is speech, and somebody wants an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from .phrases import normalised

_PHRASES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "wave": ("wave", "wave your hand", "wave hello"),
        "laugh": ("laugh", "do a laugh", "laugh animation"),
        "bow": ("bow", "take a bow", "bow down"),
        "swing_legs": ("swing legs", "swing your legs", "leg swing"),
        "balance": ("balance", "stand up", "balance yourself"),
        "pose": ("pose", "strike a pose", "do a pose"),
        "step_forward": ("step forward", "walk forward", "move forward"),
        "step_backward": ("step backward", "step back", "walk backward", "move back"),
        "turn_left": ("turn left", "rotate left"),
        "turn_right": ("turn right", "rotate right"),
        "reset": ("reset", "reset position", "go to reset"),
        "disable": ("disable", "turn off", "power down"),
        "stop": ("stop", "stop moving", "halt"),
        "mic_drop": ("mic drop", "drop the mic"),
        "monster": ("monster", "monster pose"),
        "pezz_dispenser": ("pez", "pez dispenser", "pezz"),
        "now": ("now", "now pose"),
    }
)
_COMMANDS: Final[Mapping[str, str]] = MappingProxyType({phrase: command for command, phrases in _PHRASES.items() for phrase in phrases})

_BEFORE: Final = ("please", "ok", "okay", "now", "then", "and", "tars", "robot", "can you", "could you", "would you", "will you")
_AFTER: Final = ("please", "now", "again", "for me", "tars", "robot", "thanks", "thank you")


def movement(text: str) -> str | None:
    """The command of the wire that `text` is, or None: it is something else."""
    words = normalised(text)
    while words not in _COMMANDS:
        shorter = _without(words)
        if shorter == words:
            return None
        words = shorter
    return _COMMANDS[words]


def _without(words: str) -> str:
    """`words` without one polite word at either end."""
    for polite in _BEFORE:
        if words.startswith(f"{polite} "):
            return words[len(polite) + 1 :]
    for polite in _AFTER:
        if words.endswith(f" {polite}"):
            return words[: -len(polite) - 1]
    return words


def movement_id(utt_id: str | None, new_id: str) -> str:
    """The id of a movement request: the utterance's own, else made of `new_id` (hexadecimal, random, at least 8 long)."""
    return utt_id if utt_id and utt_id.strip() else f"mv-{new_id[:8]}"
