"""``tars logs``: a service's log, asked. Reads it as a stream, however long it is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import attrs
import typer

from .log_query import LEVELS, Query, moment, plain_id, rank, story
from .log_reading import Entry, Tally, entries, followed, lines_of, lines_of_files, merged, with_rotated
from .log_view import FATE_HEAD, Fate, crashes, fate_rows, line
from .process import BAD_CONFIG
from .terminal import Terminal, ending_quietly, refuse

FOLLOW_EVERY_S: Final = 0.2
_STDIN: Final = Path("-")

Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]
Files: TypeAlias = Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON-lines logs; - is the standard input.")]
ActorOption: TypeAlias = Annotated[list[str] | None, typer.Option("--actor", help="A path, or a part of one, and all below it: router.")]
EventOption: TypeAlias = Annotated[list[str] | None, typer.Option("--event", help="An event's name; * stands for anything: child_*.")]
LevelOption: TypeAlias = Annotated[Level, typer.Option("--level", help="At least this grave.")]
MessageOption: TypeAlias = Annotated[str, typer.Option("--message-id", metavar="ID", help="Lines about this message.")]
CorrelationOption: TypeAlias = Annotated[str, typer.Option("--correlation-id", metavar="ID", help="Lines of this conversation.")]
SinceOption: TypeAlias = Annotated[str, typer.Option("--since", metavar="TIME", help="10m, 1h30m, 2d ago, or an ISO time (UTC).")]
UntilOption: TypeAlias = Annotated[str, typer.Option("--until", metavar="TIME", help="The same.")]
StoryOption: TypeAlias = Annotated[str, typer.Option("--story", metavar="ID", help="One message and what it caused.")]
CrashesOption: TypeAlias = Annotated[bool, typer.Option("--crashes", help="What crashed and came back, when; and a table by actor.")]
FollowOption: TypeAlias = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes; across rotations.")]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="Rotated files too: FILE.5 ... FILE.1, FILE.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="The lines as they stand in the log.")]
TracebackOption: TypeAlias = Annotated[bool, typer.Option("--traceback", help="Tracebacks too.")]


@attrs.frozen
class Logs:
    """The logs that were named, and what was counted in reading them."""

    paths: list[Path]
    rotated: bool
    follow: bool
    tally: Tally = attrs.field(factory=Tally)

    def read(self) -> Iterator[Entry]:
        """Every line of all of them, by time. Raises OSError."""
        self.tally.lines = self.tally.broken = 0
        return merged([entries(path.stem if path != _STDIN else "-", self._lines(path), self.tally) for path in self.paths])

    def _lines(self, path: Path) -> Iterator[bytes]:
        if path == _STDIN:
            return lines_of(sys.stdin.buffer)
        if self.follow:
            return followed(path, _pause)
        return lines_of_files(with_rotated(path) if self.rotated else [path])


def logs(  # noqa: PLR0913 - one parameter for each option
    files: Files,
    *,
    actor: ActorOption = None,
    event: EventOption = None,
    level: LevelOption = "debug",
    message_id: MessageOption = "",
    correlation_id: CorrelationOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    story_of: StoryOption = "",
    show_crashes: CrashesOption = False,
    follow: FollowOption = False,
    rotated: AllOption = False,
    as_json: JsonOption = False,
    with_traceback: TracebackOption = False,
) -> None:
    """Ask a service's log: what happened, to whom, when, and because of what.

    \b
    tars logs var/service.log --actor router --level warning --since 10m
    tars logs var/service.log --follow --event 'child_*'
    tars logs var/service.log --all --crashes
    tars logs stt.log router.log tts.log --story 45c02370d1b6416b8a363eb061898699
    tars run service.toml | tars logs -

    Lines that are no JSON objects are counted and passed over. Exit code 1: nothing is known of that story; 2: no such file.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    query = Query(
        actors=tuple(actor or ()),
        events=tuple(event or ()),
        level=level,
        message_id=message_id,
        correlation_id=correlation_id,
        since=_moment("--since", since),
        until=_moment("--until", until),
    )
    _check(files, follow=follow, alone=show_crashes or story_of != "")
    asked = Logs(files, rotated, follow and files != [_STDIN])
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        try:
            found = _story(asked, story_of) if story_of else asked.read()
            meant = (entry for entry in found if query.takes(entry))
            if show_crashes:
                _show_crashes(meant, to)
            else:
                shown = _show(meant, to, as_json=as_json, with_source=len(files) > 1, with_traceback=with_traceback)
                if not shown:
                    typer.echo("tars logs: nothing matches", err=True)
        finally:
            sys.stdout.flush()
            if asked.tally.broken:
                typer.echo(f"tars logs: passed over {asked.tally.broken} of {asked.tally.lines} lines: no JSON objects", err=True)


def _show(found: Iterable[Entry], to: Terminal, *, as_json: bool, with_source: bool, with_traceback: bool) -> int:
    """How many were shown."""
    shown = 0
    for shown, entry in enumerate(found, 1):  # noqa: B007 - the last number is the count
        to.print(entry.raw if as_json else line(entry, to, with_source=with_source, with_traceback=with_traceback))
    return shown


def _show_crashes(found: Iterable[Entry], to: Terminal) -> None:
    fates: dict[str, Fate] = {}
    for told in crashes(found, to, fates):
        to.print(told)
    if fates:
        to.print()
        to.table(FATE_HEAD, fate_rows(fates))
    else:
        to.print("nothing crashed")


def _story(asked: Logs, story_of: str) -> list[Entry]:
    """Read until no further message turns out to belong to it."""
    with tempfile.TemporaryDirectory(prefix="tars-logs-") as folder:
        if _STDIN in asked.paths:
            copied = Path(folder) / "-"
            with copied.open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
            asked = attrs.evolve(asked, paths=[copied if path == _STDIN else path for path in asked.paths])
        before: frozenset[str] = frozenset()
        ids = frozenset({plain_id(story_of)})
        found: list[Entry] = []
        while ids != before:
            before = ids
            found, ids = story(asked.read(), ids)
        if not found:
            refuse("logs", f"nothing is known of {story_of}{_why_not(asked)}", 1)
    return found


def _why_not(asked: Logs) -> str:
    """A log without any debug line is a service's that was not told to write them: a message that went well is in none other."""
    if any(rank(entry) == LEVELS.index("debug") for entry in asked.read()):
        return ""
    return ': messages that went well are only in a log written with level = "debug" under [log] in the config, or LOG_LEVEL=debug'


def _check(files: list[Path], *, follow: bool, alone: bool) -> None:
    if follow and (len(files) > 1 or alone):
        refuse("logs", "--follow goes with one file, and not with --crashes or --story", BAD_CONFIG)
    for path in files:
        if path == _STDIN:
            continue
        try:
            with path.open("rb") as stream:
                stream.read(1)
        except OSError as error:
            refuse("logs", f"{path}: {(error.strerror or str(error)).lower()}", BAD_CONFIG)


def _moment(option: str, text: str) -> float | None:
    try:
        return moment(text, time.time()) if text else None
    except ValueError as error:
        refuse("logs", f"{option}: {error}", BAD_CONFIG)


def _pause() -> None:
    sys.stdout.flush()
    time.sleep(FOLLOW_EVERY_S)
