"""What the catalogue is made of."""

from __future__ import annotations

import uuid
from typing import Any, Final

import attrs

from tars.actors.contracts.codec import unstructure
from tars.actors.contracts.envelope import Envelope, wrap
from tars.actors.contracts.pair import Pair

# The moment of all examples, in Unix epoch seconds: 2025-11-06 12:00:00 UTC and a quarter of a second.
NOW_S: Final = 1762430400.25

_NAMESPACE: Final = uuid.UUID("1d8f5f6e-9a53-5b0e-8c39-3f0a4a2b7c11")


def example_id(name: str) -> str:
    """An id like `new_id`'s that is the same at every run."""
    return uuid.uuid5(_NAMESPACE, name).hex


@attrs.frozen
class Example:
    """One message: the event, and the envelope's id where something else than the event's own id correlates it."""

    event: Any
    correlation_id: str | None = None

    @property
    def contract(self) -> type:
        """The class of the event."""
        return type(self.event)

    def envelope(self, event_type: str, source: str) -> Envelope:
        """The envelope around it."""
        data = unstructure(self.event)
        return wrap(
            event_type,
            data,
            source=source,
            correlation_id=self.correlation_id,
            now=lambda: NOW_S,
            new_id=lambda: str(data.get("message_id") or example_id(event_type)),
        )


@attrs.frozen
class Entry:
    """One topic. `sent_by` and `read_by` are words; `source` is the example sender's name in the envelope.

    `names` fill the placeholders of the topic, for the example. `enveloped` False: sent as it is.
    """

    pair: Pair
    sent_by: str
    read_by: str
    source: str
    examples: tuple[Example, ...]
    enveloped: bool = True
    names: tuple[tuple[str, str], ...] = ()

    @property
    def contracts(self) -> tuple[type, ...]:
        """The classes that travel on this topic."""
        return tuple(dict.fromkeys(example.contract for example in self.examples))

    @property
    def example_topic(self) -> str:
        """A topic without placeholders."""
        return self.pair.fill(dict(self.names))

    def document(self, example: Example) -> Envelope | Any:
        """What is encoded and sent: an envelope, or the event itself."""
        return example.envelope(self.pair.event_type, self.source) if self.enveloped else example.event


@attrs.frozen
class Chapter:
    """The topics of one matter, with the `module` of their contracts. `strays`: contracts that have no topic of their own."""

    title: str
    module: str
    intro: str
    entries: tuple[Entry, ...]
    strays: tuple[type, ...] = ()
