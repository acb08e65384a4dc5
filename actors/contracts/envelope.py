"""The envelope: the five fields around every message, as the services of this wire have always sent them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from .fields import new_id, now_s


@attrs.frozen
class Envelope:
    """Exactly these five fields; unknown ones are refused, missing ones too.

    `id`: the correlation id when there was one, else the message's own. There is no other field for it: the readers
    there are know no sixth. `ts`: when it was made, in Unix epoch seconds. `data`: the event, an object.
    """

    id: str
    type: str
    ts: float
    source: str
    data: dict[str, Any]


def wrap(
    type: str,  # noqa: A002 - the wire's word
    data: dict[str, Any],
    *,
    source: str,
    correlation_id: str | None = None,
    now: Callable[[], float],
    new_id: Callable[[], str],
) -> Envelope:
    """An envelope around `data`, plain values as `unstructure` gives them.

    `now` gives Unix epoch seconds; `new_id` a fresh id, asked only when there is no `correlation_id`. An empty
    correlation id is none: nothing could be told apart by it.
    """
    return Envelope(id=correlation_id or new_id(), type=type, ts=now(), source=source, data=data)


def wrap_now(type: str, data: dict[str, Any], *, source: str, correlation_id: str | None = None) -> Envelope:  # noqa: A002
    """`wrap`, with the clock of this machine and random ids (uuid4, 32 hex digits)."""
    return wrap(type, data, source=source, correlation_id=correlation_id, now=now_s, new_id=new_id)
