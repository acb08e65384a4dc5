"""``tars dead-letters``: what a service could not handle: looked at, replayed, thrown away; while it runs, and while it does not."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import attrs
import orjson
import typer

from tars.actors.mqtt.dead_letter import Outcome, Why
from tars.actors.mqtt.store_db import DATABASE_NAME
from tars.actors.mqtt.store_files import StoreError
from tars.actors.mqtt.store_letters import Found, Sought, bytes_on_disk, compact, forget
from tars.actors.mqtt.store_replays import Asked, ask, states
from tars.actors.mqtt.store_view import changing, holder
from tars.supervisor.terminal import Terminal, ending_quietly, printable

from .dead_letter_place import found_in, give_up, meant, sought_by, state_dir_of
from .dead_letter_view import HEAD, row, text, values, whole
from .place import FAILED, WRONG_CALL

LOOK_EVERY_S: Final = 0.05
_WENT_WELL: Final = frozenset({Outcome.HANDLED.value, Outcome.SENT.value})
WAITS: Final = "waits"
DONE_BEFORE: Final = "done before"
GONE: Final = "gone"
"""Thrown away meanwhile."""

app: Final = typer.Typer(no_args_is_help=True, help="What a service could not handle: look at it, replay it, throw it away.")

Place: TypeAlias = Annotated[Path, typer.Argument(metavar="PLACE", help="A service's TOML file, or its state directory.")]
Ids: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Only these: 17, or 17-20.")]
ActorOption: TypeAlias = Annotated[list[str] | None, typer.Option("--actor", help="A path and all below it, or the end of one: router.")]
TopicOption: TypeAlias = Annotated[list[str] | None, typer.Option("--topic", metavar="FILTER", help="A topic, or a filter with + and #.")]
ReasonOption: TypeAlias = Annotated[list[Why] | None, typer.Option("--reason", help="Why they are dead.")]
SinceOption: TypeAlias = Annotated[str, typer.Option("--since", metavar="TIME", help="10m, 1h30m, 2d ago, or an ISO time (UTC).")]
UntilOption: TypeAlias = Annotated[str, typer.Option("--until", metavar="TIME", help="The same.")]
LimitOption: TypeAlias = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="The oldest so many.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object for each.")]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All of them: needed where no filter is given.")]
AgainOption: TypeAlias = Annotated[bool, typer.Option("--again", help="Also those whose last replay went well.")]
WaitOption: TypeAlias = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long for a running service.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_letters(  # noqa: PLR0913 - one parameter for each option
    place: Place,
    ids: Ids = None,
    *,
    actor: ActorOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, the oldest first. The service may run, or not.

    \b
    tars dead-letters list router.toml --since 1h
    tars dead-letters list var/router --actor router --reason crashed --topic 'stt/#' --json

    Exit code 1: there is no store, or it is damaged; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    sought = sought_by("list", ids, actor, topic, reason, since, until, limit)
    found = found_in("list", state_dir_of("list", place, os.environ), sought)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        if as_json:
            for each in found:
                to.print(orjson.dumps(values(each)).decode())
        elif found:
            to.table(HEAD, [row(each) for each in found])
        else:
            to.print("no dead letters")


@app.command()
def show(  # noqa: PLR0913 - one parameter for each option
    place: Place,
    ids: Ids = None,
    *,
    actor: ActorOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters whole: payload, facts, traceback. What is named like a secret is masked.

    \b
    tars dead-letters show router.toml 17
    tars dead-letters show var/router --actor router --limit 1 --json

    Exit code 1: there is no such letter, or no store; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    sought = sought_by("show", ids, actor, topic, reason, since, until, limit)
    found = found_in("show", state_dir_of("show", place, os.environ), sought, payloads=True)
    if not found:
        give_up("show", "there is no such dead letter", FAILED)
    to = Terminal.of(sys.stdout, os.environ)
    with ending_quietly():
        for number, each in enumerate(found):
            if as_json:
                to.print(orjson.dumps(whole(each)).decode())
                continue
            if number:
                to.print()
            for line in text(each, to):
                to.print(line)


@app.command()
def replay(  # noqa: PLR0913 - one parameter for each option
    place: Place,
    ids: Ids = None,
    *,
    actor: ActorOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = None,
    everything: AllOption = False,
    again: AgainOption = False,
    wait_s: WaitOption = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Have dead letters handled again, by the subscription that failed and by nobody else; what could not be sent is sent.

    \b
    tars dead-letters replay router.toml 17 20-25
    tars dead-letters replay var/router --actor router --reason crashed

    A running service begins within a second, in the order of the letters; one that does not run, at its next start. A letter
    stays, with what came of it, until it is purged. Exit code 1: some did not go well, or are not through; 2: the call makes no sense.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    sought = meant("replay", sought_by("replay", ids, actor, topic, reason, since, until, limit), everything=everything)
    state_dir = state_dir_of("replay", place, os.environ)
    to = Terminal.of(sys.stdout, os.environ)

    def tell(found: Found, word: str) -> None:
        named = {"id": found.id, "topic": found.letter.topic, "actor": found.letter.actor, "replay": word}
        line = f"{found.id}  {printable(found.letter.topic)}  {printable(found.letter.actor)}  {word}"
        to.print(orjson.dumps(named).decode() if as_json else line)
        to.stream.flush()

    with ending_quietly():
        try:
            with changing(state_dir) as database:
                asked = ask(database, sought, time.time(), again=again)
                if not asked:
                    give_up("replay", "there are no such dead letters", FAILED)
                runs = holder(state_dir) is not None
                words = list(_ends(database, asked, time.monotonic() + (wait_s if runs else 0.0), tell))
        except StoreError as error:
            give_up("replay", str(error), FAILED)
        _conclude(words, runs=runs, wait_s=wait_s)


@app.command()
def purge(  # noqa: PLR0913 - one parameter for each option
    place: Place,
    ids: Ids = None,
    *,
    actor: ActorOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    limit: LimitOption = None,
    everything: AllOption = False,
    yes: YesOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was done, as a JSON object.")] = False,
) -> None:
    """Throw dead letters away for good, and give their room back to the disk. Asks before it does, on a terminal.

    \b
    tars dead-letters purge router.toml --until 30d
    tars dead-letters purge var/router --actor router --reason undecodable --yes

    What `list` shows with the same filters is what goes. Exit code 1: no store, or its room could not be given back; 2: the call
    makes no sense, or nobody said yes.
    """  # noqa: D301 - typer's word for "leave these lines as they are"
    sought = meant("purge", sought_by("purge", ids, actor, topic, reason, since, until, limit), everything=everything)
    state_dir = state_dir_of("purge", place, os.environ)
    found = found_in("purge", state_dir, sought)
    with ending_quietly():
        if found and not yes:
            _ask_first(len(found), state_dir)
        gone, freed_bytes = _purge(state_dir, attrs.evolve(sought, newest=found[-1].id)) if found else (0, 0)
        to = Terminal.of(sys.stdout, os.environ)
        said = {"purged": gone, "freed_bytes": freed_bytes}
        to.print(orjson.dumps(said).decode() if as_json else f"{gone} dead letters thrown away, {freed_bytes} bytes given back to the disk")


# -- what is done ---------------------------------------------------------------------------------


def _ends(database: sqlite3.Connection, asked: Sequence[Asked], until: float, tell: Callable[[Found, str], None]) -> Iterator[str]:
    """What became of each, told in their order as soon as it is known, or at `until` (monotonic seconds)."""
    requests = [each.request for each in asked if each.request is not None]
    now = states(database, min(requests), max(requests)) if requests else {}
    for each in asked:
        while each.request is not None and now.get(each.request, Outcome.DROPPED) is None and time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
            now = states(database, min(requests), max(requests))
        word = _word(each, now)
        tell(each.found, word)
        yield word


def _word(asked: Asked, now: Mapping[int, Outcome | None]) -> str:
    if asked.request is None:
        return DONE_BEFORE
    if asked.request not in now:
        return GONE
    outcome = now[asked.request]
    return WAITS if outcome is None else outcome.value


def _conclude(words: Sequence[str], *, runs: bool, wait_s: float) -> None:
    if waiting := words.count(WAITS):
        when = "they begin, or go on, without this command" if runs else "the service does not run: they begin at its next start"
        typer.echo(f"tars dead-letters replay: {waiting} of {len(words)} wait; {when}", err=True)
    if done := words.count(DONE_BEFORE):
        typer.echo(f"tars dead-letters replay: {done} went well before, and were left alone; --again replays them too", err=True)
    failed = [word for word in words if word not in {*_WENT_WELL, DONE_BEFORE, WAITS}]
    if failed or (waiting and runs and wait_s > 0):
        raise typer.Exit(FAILED)


def _ask_first(count: int, state_dir: Path) -> None:
    if not sys.stdin.isatty():
        give_up("purge", "nobody is there to be asked: --yes says so beforehand", WRONG_CALL)
    if not typer.confirm(f"Throw away {count} dead letters of {state_dir} for good?", err=True):
        raise typer.Exit(WRONG_CALL)


def _purge(state_dir: Path, sought: Sought) -> tuple[int, int]:
    """How many went, and how many bytes the disk got back."""
    try:
        with changing(state_dir) as database:
            before = bytes_on_disk(state_dir / DATABASE_NAME)
            gone = forget(database, sought)
            try:
                compact(database)
            except sqlite3.Error as error:
                give_up("purge", f"{gone} dead letters thrown away; their room could not be given back now: {error}", FAILED)
            return gone, max(0, before - bytes_on_disk(state_dir / DATABASE_NAME))
    except StoreError as error:
        give_up("purge", str(error), FAILED)
