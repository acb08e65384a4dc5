"""The wire as a document to read: ``python -m tars.actors.contracts.wire_doc > docs/wire.md``.

Everything in it comes from the contracts, their docstrings and the catalogue; the same classes give the same text.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from .catalogue import CATALOGUE, Chapter, Entry, Example
from .codec import decode_json, encode
from .fields import new_id, now_s, now_utc
from .schema import JsonSchema, json_schema

_INTRO: Final = """\
# The wire

Every message: its topic, its fields, an example. Generated from `tars.actors.contracts` by
`just wire-doc`; do not edit.

## How a message looks

A message is JSON in UTF-8, in an envelope of exactly five fields:

| field | type | what it is |
|---|---|---|
| `id` | string | the correlation id, when the message answers or continues another one; else an id of its own |
| `type` | string | the event type, for people and logs: what a message is taken for is decided by its topic |
| `ts` | number | when it was made, in seconds since the Unix epoch |
| `source` | string | who made it |
| `data` | object | the event: the fields below |

* **Strict.** An unknown field, a missing one, a value of another type or out of its range: the message is refused by the
  subscription that reads it, and becomes a dead letter. `true` is not 1, `"1"` is not 1; a whole number will do where a
  number is asked for. What old senders do otherwise and is read all the same stands with the message.
* **Absent.** A field with a default may be left out. `null` is written where there is no value, unless "left out" stands there.
* **Without an envelope.** An event that comes bare, not in an envelope, is read if it satisfies its contract whole.
* **Retained.** The broker keeps the last one and gives it to every newcomer.
* **Times** called `ts` or `timestamp` are seconds since the Unix epoch unless the text says otherwise.
* **Limits.** 16 MiB, nested at most 64 deep; no NaN, no infinity; map keys are strings.

In Python: `from tars.actors.contracts.stt import FinalTranscript`, then `await ctx.publish("stt.final", FinalTranscript(text="hello"))`.
"""

_MADE: Final[Mapping[object, str]] = {new_id: "a new id", now_s: "now", now_utc: "now"}


def render() -> str:
    """The whole document, Markdown."""
    parts = [_INTRO, _topics(), *(_chapter(chapter) for chapter in CATALOGUE)]
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the document to standard output."""
    sys.stdout.write(render())


def _topics() -> str:
    rows = [
        (
            _link(entry.pair.topic),
            f"`{entry.pair.event_type}`",
            *_delivery(entry),
            entry.sent_by,
            entry.read_by,
        )
        for chapter in CATALOGUE
        for entry in chapter.entries
    ]
    return "## All topics\n\n" + _table(("topic", "event type", "QoS", "retained", "sent by", "read by"), rows)


def _chapter(chapter: Chapter) -> str:
    head = f"## {chapter.title}\n\n{chapter.intro}\n\nModule `tars.actors.contracts.{chapter.module}`.\n"
    described: dict[type, Entry] = {}
    blocks: list[str] = []
    for entry in chapter.entries:
        blocks += _entry(entry, described)
        described = dict.fromkeys(entry.contracts, entry) | described
    strays = (f"### {cls.__name__}\n\n{_prose(cls)}\n\n{_fields(cls)}" for cls in chapter.strays)
    return "\n".join([head, *blocks, *strays])


def _entry(entry: Entry, described: Mapping[type, Entry]) -> Iterator[str]:
    pair = entry.pair
    retained = "retained" if pair.retain else "not retained"
    envelope = "" if entry.enveloped else " · without an envelope"
    yield f"### `{pair.topic}`\n\n`{pair.event_type}` · QoS {pair.qos} · {retained}{envelope}<br>\n{entry.sent_by} → {entry.read_by}\n"
    for cls in entry.contracts:
        if cls in described:
            yield f"**{cls.__name__}**, as on {_link(described[cls].pair.topic)}.\n"
            continue
        yield f"**{cls.__name__}.** {_prose(cls)}\n\n{_fields(cls)}"
        where = f" on `{entry.example_topic}`" if pair.names else ""
        for example in entry.examples:
            if example.contract is cls:
                yield f"For example{where}:\n\n```json\n{_json(entry, example)}\n```\n"


def _json(entry: Entry, example: Example) -> str:
    return json.dumps(decode_json(encode(entry.document(example))), indent=2, ensure_ascii=False)


# -- fields --------------------------------------------------------------------------------------


def _fields(cls: type) -> str:
    schema = json_schema(cls, refer=_part)
    rows = [
        (f"`{field.name}`", _type(schema["properties"][field.name]), _range(schema["properties"][field.name]), _default(field))
        for field in attrs.fields(cls)
    ]
    if not any(row[2] for row in rows):
        return _table(("field", "type", "default"), [(name, kind, default) for name, kind, _, default in rows])
    return _table(("field", "type", "range", "default"), rows)


def _part(cls: type) -> JsonSchema:
    return {"type": f"[{cls.__name__}](#{cls.__name__.lower()})"}


def _type(schema: JsonSchema) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(member) for member in schema["anyOf"])
    kinds = schema.get("type", "anything")
    words = [_kind(kind, schema) for kind in (kinds if isinstance(kinds, list) else [kinds])]
    return " or ".join(words)


def _kind(kind: str, schema: JsonSchema) -> str:
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    if kind == "object" and "additionalProperties" in schema:
        keys = "integer" if "propertyNames" in schema else "string"
        return f"map of {keys} to {_type(schema['additionalProperties'])}"
    if schema.get("format") == "date-time" and kind == "string":
        return "string, ISO 8601"
    return kind


def _range(schema: JsonSchema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return f"{low:g} to {high:g}" if high is not None and low is not None else f"{low:g} or more" if high is None else f"{high:g} or less"


def _default(field: Any) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "**required**"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return _MADE.get(default.factory, "`{}`")
    if default is None:
        return "left out" if field.metadata else "`null`"
    return f"`{json.dumps(list(default) if isinstance(default, tuple) else default)}`"


# -- Markdown ------------------------------------------------------------------------------------


def _prose(cls: type) -> str:
    """The docstring: its paragraphs, each on one line; a line that begins with "Refused:" begins a paragraph."""
    text = (inspect.getdoc(cls) or "").replace("``", "`").replace("\nRefused:", "\n\n**Refused:**")
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", paragraph).strip() for paragraph in text.split("\n\n"))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _delivery(entry: Entry) -> tuple[str, str]:
    return str(entry.pair.qos), "yes" if entry.pair.retain else ""


def _link(topic: str) -> str:
    """A link to the topic's heading, whose anchor is what GitHub makes of it: letters, digits, ``-`` and ``_``."""
    return f"[`{topic}`](#{re.sub(r'[^a-z0-9_-]', '', topic.lower())})"


if __name__ == "__main__":
    main()
