"""``python -m bench``: everything beside everything, or the short version that CI runs."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final

import attrs
import orjson
import trio
import typer

from tars.supervisor.restart import leaves

from . import contenders, costs_run, costs_service, profiling, scenario
from . import lanes as lane_runs
from . import latency as waits
from .child import ROOT, Cores, Failed, available_cores, cores
from .contenders import Contender
from .costs import as_json as costs_json
from .costs import as_text as costs_text
from .costs_setting import Setting
from .layers import GMQTT, OURS, Table, layers
from .layers import as_text as layers_text
from .machine import Machine, describe, load
from .report import as_json, as_text, ratio, rows
from .rounds import Measured, run, turns
from .scenario import Scenario, mosquitto_in, search_path

ANSWERING: Final = tuple(each.name for each in contenders.ANSWERING)
CONTENDERS: Final = (*contenders.BY_NAME, *ANSWERING)
SCENARIOS: Final = tuple(each.name for each in scenario.ALL)
app: Final = typer.Typer(add_completion=False)
RESULTS: Final = ROOT / "bench" / "results"
FLOOR: Final = ROOT / "bench" / "floor.toml"
NOTHING: Final = "nothing could be measured: the reports are left as they were"
PROFILED: Final[Mapping[str, Table]] = {"tars 5": OURS, "gmqtt 5": GMQTT}


@attrs.frozen
class Floor:
    """What ``floor.toml`` says: the median of `ours` over `theirs` is at least `floor`."""

    ours: str
    theirs: str
    floor: float


def read_floor(text: str) -> Floor:
    """Raises KeyError or TypeError for a file that says something else."""
    return Floor(**tomllib.loads(text)["ratio"])


def among(names: Iterable[str]) -> Callable[[list[str] | None], list[str] | None]:
    """For an option: refuses what is none of `names`, before anything is measured or a report overwritten."""
    known = list(dict.fromkeys(names))

    def check(given: list[str] | None) -> list[str] | None:
        for name in given or ():
            if name not in known:
                raise typer.BadParameter(f"{name!r} is none of: {'; '.join(known)}")
        return given

    return check


@app.callback(no_args_is_help=True, help=__doc__)
def main() -> None:
    """Have SIGTERM, as `timeout` and CI send it, end what was started, too: services and brokers live on without us."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell without job control has its background jobs ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@app.command()
def throughput(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    cpu_s: Annotated[float, typer.Option(min=0.1, help="CPU time of the consumer in each measurement.")] = 2.0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help='A contender, e.g. "tars 5"; may stand more than once.',
            callback=among(CONTENDERS),
        ),
    ] = None,
    via: Annotated[
        list[str] | None,
        typer.Option(help='A scenario, e.g. "blaster, QoS 1"; may stand more than once.', callback=among(SCENARIOS)),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the report goes.")] = RESULTS,
) -> None:
    """Every contender in every scenario, alternating; writes report.json, report.md and the pictures."""
    ways = [each for each in scenario.ALL if not via or each.name in via]
    measured, machine = _measure(only, ways, rounds, cpu_s)
    if not measured.samples:
        raise Failed(NOTHING)
    results.mkdir(parents=True, exist_ok=True)
    text = as_text(measured, machine)
    (results / "report.json").write_bytes(orjson.dumps(as_json(measured, machine), option=orjson.OPT_INDENT_2) + b"\n")
    (results / "report.md").write_text(text, encoding="utf-8")
    typer.echo(text)
    if _can_draw():
        from .plots import plot  # noqa: PLC0415 - only the pictures want matplotlib

        plot(rows(measured.samples), results)
    raise typer.Exit(1 if measured.failures else 0)


@app.command()
def quick(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    cpu_s: Annotated[float, typer.Option(min=0.1)] = 1.0,
) -> None:
    """Ours against the hand-written aiomqtt loop; fails when the ratio is below ``bench/floor.toml``. Needs no other peer."""
    floor = read_floor(FLOOR.read_text(encoding="utf-8"))
    measured, _ = _measure((floor.ours, floor.theirs), [scenario.QUICK], rounds, cpu_s)
    found = ratio(measured.samples, scenario.QUICK.name, floor.ours, floor.theirs)
    if measured.failures or found is None:
        raise typer.Exit(1)
    value = found.value
    verdict = "below" if value.median < floor.floor else "not below"
    typer.echo(
        f"{floor.ours} over {floor.theirs}, messages per CPU-second: {value.median:.2f} "
        f"({value.low:.2f} to {value.high:.2f} in {value.count} rounds), {verdict} the floor of {floor.floor:g}"
    )
    raise typer.Exit(1 if value.median < floor.floor else 0)


@app.command()
def latency(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each rate is kept up.")] = 10.0,
    only: Annotated[
        list[str] | None,
        typer.Option(help='A contender, e.g. "tars 5"; may stand more than once.', callback=among(ANSWERING)),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the report goes.")] = RESULTS,
) -> None:
    """How long handling and request→reply take at 100, 1000 and 5000 requests per second; writes latency.json and latency.md."""
    taking_part = [each for each in contenders.ANSWERING if not only or each.name in only]
    contenders.check_installed(taking_part)
    pinned, environment = _pinned(), dict(os.environ)
    tell = functools.partial(typer.echo, err=True)
    found = trio.run(functools.partial(waits.run, taking_part, waits.RATES, rounds, seconds, pinned, environment, tell))
    if not found:
        raise Failed(NOTHING)
    text = waits.as_text(found)
    results.mkdir(parents=True, exist_ok=True)
    (results / "latency.json").write_bytes(orjson.dumps([attrs.asdict(each) for each in found], option=orjson.OPT_INDENT_2) + b"\n")
    (results / "latency.md").write_text(text, encoding="utf-8")
    typer.echo(text)
    raise typer.Exit(0 if len(found) == rounds * len(taking_part) * len(waits.RATES) else 1)


@app.command()
def lanes(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long a measurement would take if lanes were ideal.")] = 3.0,
    wait_ms: Annotated[list[float] | None, typer.Option(help="How long the handler waits; may stand more than once.")] = None,
    results: Annotated[Path, typer.Option(help="Where the report goes.")] = RESULTS,
) -> None:
    """An actor whose handler waits, with 1 to 32 lanes; writes lanes.json, lanes.md and a picture."""
    pinned, environment, waits_ms = _pinned(), dict(os.environ), wait_ms or lane_runs.WAITS_MS
    tell = functools.partial(typer.echo, err=True)
    found = trio.run(functools.partial(lane_runs.run, waits_ms, rounds, seconds, pinned, environment, tell))
    if not found:
        raise Failed(NOTHING)
    text, rows_of_lanes = lane_runs.as_text(found), lane_runs.rows(found)
    results.mkdir(parents=True, exist_ok=True)
    (results / "lanes.json").write_bytes(orjson.dumps([attrs.asdict(each) for each in found], option=orjson.OPT_INDENT_2) + b"\n")
    (results / "lanes.md").write_text(text, encoding="utf-8")
    typer.echo(text)
    if _can_draw():
        from .plots import plot_lanes  # noqa: PLC0415 - only the pictures want matplotlib

        plot_lanes(rows_of_lanes, results)
    raise typer.Exit(0 if len(found) == rounds * len(waits_ms) * len(lane_runs.CONCURRENCY) else 1)


@app.command()
def costs(
    *,
    messages: Annotated[int, typer.Option(min=costs_service.WINDOW * 2, help="Of the long run through a service.")] = 5_000_000,
    restarts: Annotated[int, typer.Option(min=costs_service.CRASHES * 5, help="Of the long runs of crashes.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="Of what is short.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the messages, half the restarts.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(costs_run.ALL)}; may stand more than once.", callback=among(costs_run.ALL))
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the report goes.")] = RESULTS,
) -> None:
    """Costs that must not grow, and small ones that must stay small; writes costs.json and costs.md."""
    available, environment = available_cores(), dict(os.environ)
    pinned, chosen = _pinned(), {name: each for name, each in costs_run.ALL.items() if not only or name in only}
    machine = describe(available, pinned, contenders.BY_NAME["tars 5"].distributions, mosquitto_in(search_path(environment)))
    tell = functools.partial(typer.echo, err=True)
    size = (messages // 10, restarts // 2) if quick else (messages, restarts)
    setting = Setting(pinned, environment, tell, *size, rounds, idle_s=10.0)
    found, failures = trio.run(costs_run.run, chosen, setting)
    machine = attrs.evolve(machine, load=(*machine.load, load()))
    text = costs_text(found, failures)
    results.mkdir(parents=True, exist_ok=True)
    (results / "costs.json").write_bytes(orjson.dumps(costs_json(found, failures, machine), option=orjson.OPT_INDENT_2) + b"\n")
    (results / "costs.md").write_text(text, encoding="utf-8")
    typer.echo(text)
    raise typer.Exit(1 if failures else 0)


@app.command()
def profile(
    seconds: Annotated[float, typer.Option(min=1, max=10, help="For each. Longer, and the heartbeat misses the sender's answer.")] = 10.0,
    results: Annotated[Path, typer.Option(help="Where the tables go.")] = RESULTS,
) -> None:
    """Where CPU time goes, layer by layer, ours and of the one that is ahead; writes profile.md. Needs py-spy, and leave to use it."""
    pinned, environment, tables = _pinned(), dict(os.environ), []
    contenders.check_installed(contenders.BY_NAME[name] for name in PROFILED)
    for way in (scenario.QUICK, scenario.REQUESTS):
        for contender in (each for each in contenders.taking_part(way) if each.name in PROFILED):
            seen = trio.run(functools.partial(profiling.profile, contender, way, seconds, pinned, environment))
            parts = layers_text(layers(seen.folded, PROFILED[contender.name]), seen.per_cpu_s)
            tables.append(f"# {contender.name}, {way.name}\n\n{parts}")
            typer.echo(tables[-1])
    results.mkdir(parents=True, exist_ok=True)
    (results / "profile.md").write_text("\n".join(tables), encoding="utf-8")


def _can_draw() -> bool:
    """Says so where it cannot: the figures are worth having without the pictures."""
    if importlib.util.find_spec("matplotlib") is not None:
        return True
    typer.echo("no pictures were drawn: they need matplotlib, which the extra `bench` brings", err=True)
    return False


def _pinned() -> Cores:
    """Where everything runs. This process goes to the feeder's core: the consumer's is the consumer's."""
    pinned = cores(available_cores())
    if pinned.feeder is not None:
        os.sched_setaffinity(0, {pinned.feeder})
    return pinned


def _measure(only: Collection[str] | None, ways: list[Scenario], rounds: int, cpu_s: float) -> tuple[Measured, Machine]:
    """`only`: the names of those who take part; None or empty: everybody."""

    def who(way: Scenario) -> list[Contender]:
        return [each for each in contenders.taking_part(way) if not only or each.name in only]

    available, environment = available_cores(), dict(os.environ)
    pinned = _pinned()
    contenders.check_installed(each for way in ways for each in who(way))
    distributions = [name for way in ways for each in who(way) for name in each.distributions]
    broker = mosquitto_in(search_path(environment)) if any(way.via == "mosquitto" for way in ways) else "mosquitto"
    machine = describe(available, pinned, distributions, broker)
    order = turns(who, ways, rounds)
    measured = trio.run(functools.partial(run, order, pinned, cpu_s, environment, functools.partial(typer.echo, err=True)))
    return measured, attrs.evolve(machine, load=(*machine.load, load()))


def run_app() -> None:
    """The command line. What cannot be measured is a sentence and exit code 1, whichever command it was."""
    said = ""
    try:
        app()
    except* Failed as group:  # out of a nursery it comes in a group
        said = "; ".join(str(failed) for failed in leaves(group))
    if said:
        typer.echo(f"bench: {said}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    run_app()
