"""Every topic of the wire with its contracts, who sends it, who reads it, and an example: the data documents are made of.

Nothing at run time depends on it. What must hold, and a test keeps: every contract and every pair of `STANDARD` is in
it, and every example is a message its contract reads.
"""

from typing import Final

from .body import CAMERA, MOVEMENT
from .entry import Chapter, Entry, Example
from .mind import CHARACTER, LLM, MEMORY
from .system import CONFIG, HEALTH
from .voice import STT, TTS, WAKE

CATALOGUE: Final = (STT, WAKE, TTS, LLM, MEMORY, CHARACTER, MOVEMENT, CAMERA, HEALTH, CONFIG)

__all__ = ["CATALOGUE", "Chapter", "Entry", "Example"]
