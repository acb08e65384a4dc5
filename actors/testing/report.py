"""What a wait that is not fulfilled says: what was published instead, what failed, what is under way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from tars.actors.estate import HANDLERS_PATH
from tars.actors.mqtt.dead_letter import DeadLetter
from tars.actors.mqtt.events import HandlerFailed
from tars.actors.mqtt.memory_watch import Published
from tars.supervisor import ChildExited, leaves

_SHOWN: Final = 10
_CHARS: Final = 200


class Unfulfilled(AssertionError):
    """What the test waited for did not happen. The message says what did."""


def report(
    published: Sequence[Published],
    letters: Sequence[DeadLetter],
    failures: Sequence[HandlerFailed],
    unacked: Sequence[str],
    crashes: Sequence[ChildExited],
    unheard: Sequence[str],
) -> str:
    """Several lines, newest last. `crashes`: of parts of the runtime, which no author's code should be able to cause.

    `unheard`: topics the test has delivered to, and no subscription matches.
    """
    sections: tuple[tuple[str, list[str]], ...] = (
        ("published", [_publication(each) for each in published]),
        ("dead letters", [f"{each.why.value}  {each.topic}  {each.error}" for each in letters]),
        ("failures", [_failure(each) for each in failures]),
        ("received and not acknowledged", list(unacked)),
    )
    if crashes:
        sections = (*sections, ("crashed", [f"{each.path}  {_said(leaves(each.error)[0])}" for each in crashes if each.error is not None]))
    misspelt = [f"delivered, but no subscription of this service matches {topic[:_CHARS]}" for topic in unheard[-_SHOWN:]]
    return "\n".join([*misspelt, *(line for title, entries in sections for line in _section(title, entries))])


def _section(title: str, entries: Sequence[str]) -> Iterable[str]:
    if not entries:
        yield f"{title}: nothing"
        return
    yield f"{title}: {len(entries)}" + (f", the last {_SHOWN}:" if len(entries) > _SHOWN else "")
    yield from (f"  {entry[:_CHARS]}" for entry in entries[-_SHOWN:])


def _failure(failed: HandlerFailed) -> str:
    actor = failed.actor.removeprefix(f"{HANDLERS_PATH}/")
    return f"{actor}  {failed.topic or failed.subscription}  {_said(failed.error)}"


def _publication(published: Published) -> str:
    envelope = published.envelope
    refused = f"  (refused: {published.code:#x})" if published.code >= 0x80 else ""
    if envelope is not None:
        return f"{published.topic}  {envelope.type}  {orjson.dumps(envelope.data).decode()}{refused}"
    return f"{published.topic}  {published.payload!r}{refused}"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
