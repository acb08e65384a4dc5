"""The simulation as a tool: scenarios that are data, replayed by seed, read as a timeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.replay import MISTAKE, SCENARIOS, main, report
from support.script import AtStart, AtStop, Command, Do, End, Life, Node, Scenario, read
from support.script_play import play, sim_script
from support.sim import sims
from support.timeline import timeline
from tars.supervisor import BRUTAL, INFINITY, ChildExited, ExitKind, Strategy

NAMES = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
ROOT = Node("root", strategy=Strategy.ONE_FOR_ONE)


def lines_of(seed: int, *tree: Node, script: tuple[Command, ...] = (), until_s: float = 10.0) -> list[str]:
    """The timeline, every line without its column of blanks."""
    world = sim_script(seed, Scenario((ROOT, *tree), script, until_s=until_s))
    return [" ".join(line.split()) for line in timeline(world.trace)]


# -- the scenarios that come with the project ------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_can_be_replayed_under_any_seed_and_leaves_no_task(name: str) -> None:
    scenario = read(SCENARIOS / f"{name}.toml")

    assert scenario.title
    assert sims(50, lambda world: play(world, scenario)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_is_the_same_life_and_another_seed_another(name: str) -> None:
    scenario = read(SCENARIOS / f"{name}.toml")

    assert sim_script(7, scenario).render() == sim_script(7, scenario).render()


# -- the timeline ---------------------------------------------------------------------------------


def test_a_replay_reads_as_a_timeline() -> None:
    scenario = read(SCENARIOS / "rest_for_one.toml")

    assert [
        "The middle of three fails: the one behind it goes down and comes back with it; seed 7",
        "  root                      rest_for_one, 3 restarts in 5 s",
        "    store                   permanent",
        "    dedup                   permanent",
        "    dispatcher              permanent; its lives: to stop: tidy 1 s",
        "",
        "     0.000      store #1                started",
        "                dedup #1                started",
        "                dispatcher #1           started",
        "",
        "     5.000  > crash root/dedup",
        "                dedup #1                crashed after 5 s: Boom: a bug",
        "                dedup                   restarts in 1.676 s (failure 1 in a row; 1 of 3 restarts in 5 s used)",
        "              root                      dedup takes its group down and up again: dedup dispatcher",
        "                dispatcher #1           is cancelled, and cleans up for 1 s",
        "     6.000      dispatcher #1           was shut down after 6 s",
        "     6.676      dedup #2                started",
        "                dispatcher #2           started",
        "",
        "    20.000  > stop: the scenario is over",
        "                dispatcher #2           is cancelled, and cleans up for 1 s",
        "    21.000      dispatcher #2           was shut down after 14.324 s",
        "                dedup #2                was shut down after 14.324 s",
        "                store #1                was shut down after 21 s",
        "              root                      has stopped, with everything below it: shutdown, in 1 s",
        "",
        "36 task steps; no task and no channel left",
    ] == list(report(scenario, 7))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (End.RETURN, "returned after 1 s"),
        (End.CRASH, "crashed after 1 s: Boom: a bug"),
        (End.STOP, "stopped itself after 1 s: Stop: done"),
        (End.UNAVAILABLE, "missed something outside after 1 s: Unavailable: nothing there"),
        (End.ESCALATE, "escalated after 1 s: Escalate: nobody below can mend this"),
        (End.EXIT, "ends the program after 1 s: SystemExit: 3"),
    ],
)
def test_an_incarnation_ends_as_its_life_or_a_command_says(end: End, said: str) -> None:
    by_itself = lines_of(0, Node("root/a", lives=(Life(run_s=1, end=end), Life())))
    by_command = lines_of(0, Node("root/a"), script=(Command(Do(end.value), "root/a", at_s=1),))

    assert "0.000 a #1 started" in by_itself
    assert f"1.000 a #1 {said}" in by_itself
    assert f"a #1 {said}" in by_command


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (AtStart.CRASH, "crashed in its start: Boom: a bug"),
        (AtStart.DECLINE, "declined to start"),
        (AtStart.UNAVAILABLE, "missed something outside in its start: Unavailable: nothing there"),
        (AtStart.ESCALATE, "escalated in its start: Escalate: nobody below can mend this"),
        (AtStart.HANG, "hangs in its start"),
    ],
)
def test_a_restart_can_fail_in_every_way(start: AtStart, said: str) -> None:
    lines = lines_of(0, Node("root/a", lives=(Life(run_s=1), Life(start=start, start_s=2), Life())))

    assert "a #2 takes 2 s to start" in lines
    assert f"3.000 a #2 {said}" in lines


@pytest.mark.parametrize(
    ("stop", "said", "kind"),
    [
        (AtStop.OBEY, None, ExitKind.SHUTDOWN),
        (AtStop.TIDY, "a #1 is cancelled, and cleans up for 2 s", ExitKind.SHUTDOWN),
        (AtStop.TRAP, "a #1 is asked to stop, and takes 2 s", ExitKind.SHUTDOWN),
        (AtStop.SWALLOW, "a #1 is cancelled, and swallows it", ExitKind.SHUTDOWN),
        (AtStop.RAISE, "a #1 is cancelled, and fails in its clean-up", ExitKind.CRASH),
    ],
)
def test_a_stop_can_meet_every_fault(stop: AtStop, said: str | None, kind: ExitKind) -> None:
    scenario = Scenario((ROOT, Node("root/a", lives=(Life(stop=stop, stop_s=2),))))
    world = sim_script(0, scenario)
    lines = [" ".join(line.split()) for line in timeline(world.trace)]

    assert said is None or said in lines
    assert [kind] == [event.kind for event in world.events(ChildExited)]


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (Do.SLOW_STOP, "a #1 is cancelled, and cleans up for 2 s"),
        (Do.SWALLOW_CANCEL, "a #1 is cancelled, and swallows it"),
        (Do.RAISE_IN_FINALLY, "a #1 is cancelled, and fails in its clean-up"),
    ],
)
def test_a_command_can_put_a_fault_into_a_living_incarnation(do: Do, said: str) -> None:
    lines = lines_of(0, Node("root/a"), script=(Command(do, "root/a", at_s=1, for_s=2),))

    assert said in lines


def test_a_child_that_hangs_is_stuck_and_then_goes_on() -> None:
    lines = lines_of(0, Node("root/a", shutdown_s=1.0), script=(Command(Do.HANG, "root/a", at_s=9, for_s=5),))

    assert lines[lines.index("a #1 hangs, deaf to everything, for 5 s") :] == [
        "a #1 hangs, deaf to everything, for 5 s",
        "",
        "10.000 > stop: the scenario is over",
        "11.000 a #1 is stuck: still there 1 s after its cancellation",
        "14.000 a #1 hears again",
        "a #1 was shut down after 14 s",
        "root has stopped, with everything below it: shutdown, in 4 s",
    ]


def test_operators_are_answered_in_the_timeline() -> None:
    script = (
        Command(Do.TERMINATE_CHILD, "root/a", at_s=1),
        Command(Do.DELETE_CHILD, "root/a", at_s=2),
        Command(Do.RESTART_CHILD, "root/a", at_s=3),
        Command(Do.START_CHILD, "root/b", at_s=4),
        Command(Do.CRASH, "root/a", at_s=5),
        Command(Do.STOP_SUPERVISOR, "root", at_s=6),
    )
    lines = lines_of(0, Node("root/a"), Node("root/b", spare=True), script=script)

    assert [line for line in lines if line.startswith("<") or "nothing" in line] == [
        "< terminate_child root/a: done",
        "< delete_child root/a: done",
        "< restart_child root/a: refused: NotFound",
        "< start_child root/b: b",
        "a is not running: nothing done",
        "< stop_supervisor root: done",
    ]


def test_commands_of_one_moment_happen_in_the_order_that_the_seed_chooses() -> None:
    tree = Node("root/a"), Node("root/b", spare=True)
    script = Command(Do.TERMINATE_CHILD, "root/a", at_s=1), Command(Do.START_CHILD, "root/b", at_s=1)

    assert len({tuple(lines_of(seed, *tree, script=script)) for seed in range(20)}) > 1


def test_a_cancelled_program_is_told_of() -> None:
    scenario = read(SCENARIOS / "cancelled.toml")

    assert list(report(scenario, 0))[-1].startswith("cancelled from outside; ")


def test_a_line_of_the_tree_says_everything_a_spec_can() -> None:
    assert (5.0, INFINITY, BRUTAL, INFINITY, 2.5) == (
        Node("root/a").grace_s(),
        ROOT.grace_s(),
        Node("root/a", shutdown_s="brutal").grace_s(),
        Node("root/a", shutdown_s="infinity").grace_s(),
        Node("root/a", shutdown_s=2.5).grace_s(),
    )


# -- the command line ------------------------------------------------------------------------------


def test_without_a_scenario_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert NAMES == [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_it_prints_the_replay_of_a_name_or_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--scenario", "rest_for_one"]) == 0
    by_name = capsys.readouterr().out

    assert main(["--seed", "7", "--scenario", str(SCENARIOS / "rest_for_one.toml")]) == 0
    assert by_name == capsys.readouterr().out
    assert "root/dedup" in by_name


def test_it_says_how_many_lives_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "operators", "--seeds", "30"]) == 0
    assert capsys.readouterr().out.startswith("30 seeds, ")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[[tree]]\npath = "root"\nstrategy = "one_for_two"\n', 'tree[0].strategy: expected one of "one_for_one"'),
        ('[[tree]]\npath = "root"\nstrategy = "one_for_one"\n[[script]]\ndo = "cras"\n', "script[0].do: expected one of"),
        ('[[tree]]\npath = "root"\nstrategy = "one_for_one"\n[[tree]]\npath = "a"\n', "tree[1]: 'a' is not below a supervisor"),
        ('[[tree]]\npath = "root"\n', "tree[0] is the supervisor root"),
        ('[[tree]]\npath = "root"\nstrategy = "one_for_one"\n[[script]]\ndo = "crash"\nchild = "root/x"\n', "there is no 'root/x'"),
        ("tree = 3", "tree: expected an array"),
        ("tree = ", "Invalid value"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], toml: str, said: str
) -> None:
    file = tmp_path / "scenario.toml"
    file.write_text(toml)

    assert main(["--scenario", str(file)]) == MISTAKE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("operator", "there is no scenario 'operator'; did you mean 'operators'?"),
        ("nowhere", "there is no scenario 'nowhere'"),
        ("nowhere.toml", "there is no file nowhere.toml"),
    ],
)
def test_a_scenario_that_is_not_there_is_answered_with_those_that_are(capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert main(["--scenario", name]) == MISTAKE
    told = capsys.readouterr().err.splitlines()

    assert said == told[0]
    assert name.endswith(".toml") or all(each in told[1] for each in NAMES)


def test_a_scenario_that_is_a_folder_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder.toml"
    folder.mkdir()

    assert main(["--scenario", str(folder)]) == MISTAKE
    assert f"{folder} cannot be read: Is a directory\n" == capsys.readouterr().err


def test_a_step_after_the_end_of_the_run_is_refused_and_the_last_one_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    steps = sim_script(7, read(SCENARIOS / "rest_for_one.toml")).steps
    replay = ["--scenario", "rest_for_one", "--seed", "7", "--cancel-at-step"]

    assert main([*replay, str(steps)]) == 0
    capsys.readouterr()
    assert main([*replay, str(steps + 1)]) == MISTAKE
    told = capsys.readouterr()
    assert "" == told.out
    assert f"under seed 7 the run is over after {steps} task steps: it cannot be cancelled at step {steps + 1}\n" == told.err


def test_a_step_before_the_first_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--scenario", "rest_for_one", "--cancel-at-step", "0"])

    assert MISTAKE == refused.value.code
    assert "task steps are counted from 1, not 0" in capsys.readouterr().err
