"""Messages and the schemas of their payloads: what stands in an AsyncAPI document's components.

A payload is JSON. Enveloped, it is the five fields of `Envelope` whose ``data`` is the event; bare, the event itself, which a
subscription takes, too, if it satisfies the event's class whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from tars.actors.contracts import Envelope, decode_json, encode
from tars.actors.contracts.schema import JsonSchema, json_schema, parts
from tars.actors.mqtt.keys import CAUSATION_ID, MESSAGE_ID

from .naming import Names
from .traffic import Flow, Form, entry_of

_PROPERTIES: Final = "UserProperties"
_CORRELATION: Final = "envelope"
_SUMMARIES: Final[Mapping[Form, str]] = MappingProxyType(
    {"enveloped": "In an envelope.", "bare": "Without an envelope.", "raw": "Any bytes."},
)


@attrs.frozen
class Message:
    """One message of the document: an event in one form."""

    event_type: str
    model: type[Any]
    form: Form

    @property
    def wish(self) -> str:
        """What its key would be."""
        known = self.event_type or (self.model.__name__ if attrs.has(self.model) and self.model is not Envelope else "")
        word = {"enveloped": known or "envelope", "bare": f"{known or 'object'}.bare", "raw": "raw"}
        return word[self.form]


def messages_of(flow: Flow) -> tuple[Message, ...]:
    """In the order of its classes and forms. An envelope around any object is an `Envelope`."""
    return tuple(
        Message(flow.event_type, Envelope if form == "enveloped" and not attrs.has(model) else model, form)
        for model in flow.models
        for form in flow.forms
    )


@attrs.frozen
class Components:
    """The keys of messages and schemas, and what stands behind them. `with_properties`: messages carry MQTT 5's user properties."""

    messages: dict[Message, str]
    schemas: dict[type[Any], str]
    with_properties: bool

    @classmethod
    def of(cls, flows: Iterable[Flow], *, with_properties: bool) -> Components:
        """What these flows need. Their order decides who of two namesakes gets a number."""
        messages: dict[Message, str] = {}
        schemas: dict[type[Any], str] = {}
        message_names, schema_names = Names(), Names()
        schema_names.of(None, _PROPERTIES)
        schemas[Envelope] = schema_names.of(Envelope, Envelope.__name__)
        for message in (message for flow in flows for message in messages_of(flow)):
            messages[message] = message_names.of(message, message.wish)
            for model in (message.model, *parts(message.model)) if attrs.has(message.model) else ():
                schemas[model] = schema_names.of(model, model.__name__)
        return cls(messages, schemas, with_properties)

    def document(self) -> dict[str, Any]:
        """``components``, without the security schemes."""
        schemas = {key: self._schema(model) for model, key in self.schemas.items()}
        if self.with_properties:
            schemas[_PROPERTIES] = _user_properties()
        return {
            "correlationIds": {
                _CORRELATION: {
                    "description": "The envelope's id: of the message, or of the one that this one answers or continues.",
                    "location": "$message.payload#/id",
                }
            },
            "messages": {key: self._message(message, key) for message, key in sorted(self.messages.items(), key=lambda item: item[1])},
            "schemas": dict(sorted(schemas.items())),
        }

    def _message(self, message: Message, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {"name": message.event_type or key}
        if attrs.has(message.model):
            found["title"] = message.model.__name__
        found["summary"] = _SUMMARIES[message.form]
        found["contentType"] = "application/octet-stream" if message.form == "raw" else "application/json"
        if self.with_properties:
            found["headers"] = {"$ref": f"#/components/schemas/{_PROPERTIES}"}
        if message.form == "enveloped":
            found["correlationId"] = {"$ref": f"#/components/correlationIds/{_CORRELATION}"}
        if message.form != "raw":
            found["payload"] = self._payload(message)
            examples = list(_examples(message))
            found |= {"examples": examples} if examples else {}
        return found

    def _payload(self, message: Message) -> JsonSchema:
        envelope = self._refer(Envelope)
        if message.form == "bare":
            return self._refer(message.model) if attrs.has(message.model) else {"type": "object", "not": envelope}
        if message.model is Envelope:
            return envelope
        return {"allOf": [envelope, {"type": "object", "properties": {"data": self._refer(message.model)}}]}

    def _schema(self, model: type[Any]) -> JsonSchema:
        schema = json_schema(model, refer=self._refer)
        described = _prose(model)
        return {"title": schema.pop("title"), **({"description": described} if described else {}), **schema}

    def _refer(self, model: type) -> JsonSchema:
        return {"$ref": f"#/components/schemas/{self.schemas[model]}"}


def _examples(message: Message) -> Iterator[dict[str, Any]]:
    """The catalogue's, if it has this event with this class."""
    entry = entry_of(message.event_type)
    for example in entry.examples if entry is not None else ():
        if example.contract is message.model:
            said = example.event if message.form == "bare" or entry is None else example.envelope(entry.pair.event_type, entry.source)
            yield {"payload": decode_json(encode(said))}


def _user_properties() -> JsonSchema:
    return {
        "title": _PROPERTIES,
        "description": "User properties of MQTT 5. They may be missing, and there may be others.",
        "type": "object",
        "properties": {
            CAUSATION_ID: {"type": "string", "description": "The message-id of the message whose handling made this one."},
            MESSAGE_ID: {"type": "string", "description": "The identity of this message: a repetition has the same, and is dropped."},
        },
    }


def _prose(model: type[Any]) -> str:
    """The class's own docstring, in Markdown; what `dataclasses` writes there by itself is none."""
    text = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
    return "" if text.startswith(f"{model.__name__}(") else text
