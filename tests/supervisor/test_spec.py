"""Specs are refused before anything starts, and the refusal names the spec and the key (A17, A6, A16)."""

from __future__ import annotations

import math

import pytest

from support.cases import case
from tars.supervisor import BRUTAL, INFINITY, AutoShutdown, ChildSpec, Restart, SpecError, Strategy, SupervisorSpec


async def start(*, task_status: object) -> None:
    """A start function that no test here calls."""


CHILD = ChildSpec("a", start)


@case("A17")
@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"id": 7}, "id"),
        ({"start": None}, "start"),
        ({"start": "module:function"}, "start"),
        ({"restart": "permanent"}, "restart"),
        ({"restart": None}, "restart"),
        ({"shutdown_s": -0.1}, "shutdown_s"),
        ({"shutdown_s": "5"}, "shutdown_s"),
        ({"shutdown_s": None}, "shutdown_s"),
        ({"shutdown_s": math.nan}, "shutdown_s"),
        ({"shutdown_s": True}, "shutdown_s"),
        ({"significant": "yes"}, "significant"),
        ({"backoff": 3}, "backoff"),
    ],
    ids=repr,
)
def test_a_child_spec_is_refused_by_spec_and_key(wrong: dict[str, object], key: str) -> None:
    arguments: dict[str, object] = {"id": "worker-7", "start": start} | wrong
    with pytest.raises(SpecError) as refusal:
        ChildSpec(**arguments)  # type: ignore[arg-type]

    assert key in str(refusal.value)
    assert repr(arguments["id"]) in str(refusal.value)


@case("A6", "A17", "D8")
@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"id": ""}, "id"),
        ({"strategy": "one_for_one"}, "strategy"),
        ({"auto_shutdown": "never"}, "auto_shutdown"),
        ({"backoff": None}, "backoff"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_restarts": 1.5}, "max_restarts"),
        ({"max_restarts": "3"}, "max_restarts"),
        ({"max_restarts": True}, "max_restarts"),
        ({"max_restarts": None}, "max_restarts"),
        ({"period_s": 0}, "period_s"),
        ({"period_s": -1.0}, "period_s"),
        ({"period_s": math.nan}, "period_s"),
        ({"period_s": math.inf}, "period_s"),
        ({"period_s": "5"}, "period_s"),
        ({"max_consecutive": -1}, "max_consecutive"),
        ({"max_consecutive": 0.5}, "max_consecutive"),
        ({"shutdown_s": -1}, "shutdown_s"),
        ({"stops_together": 1}, "stops_together"),
        ({"stops_together": True, "strategy": Strategy.REST_FOR_ONE}, "stops_together"),
        ({"restart": "permanent"}, "restart"),
        ({"children": [CHILD, CHILD]}, "children"),
        ({"children": [CHILD, SupervisorSpec("a", [])]}, "children"),
        ({"children": [start]}, "children"),
        ({"children": [], "strategy": Strategy.SIMPLE_ONE_FOR_ONE}, "children"),
        ({"children": [CHILD, ChildSpec("b", start)], "strategy": Strategy.SIMPLE_ONE_FOR_ONE}, "children"),
        ({"strategy": Strategy.SIMPLE_ONE_FOR_ONE, "auto_shutdown": AutoShutdown.ANY_SIGNIFICANT}, "auto_shutdown"),
    ],
    ids=repr,
)
def test_a_supervisor_spec_is_refused_by_spec_and_key(wrong: dict[str, object], key: str) -> None:
    arguments: dict[str, object] = {"id": "pool-9", "children": [CHILD]} | wrong
    with pytest.raises(SpecError) as refusal:
        SupervisorSpec(**arguments)  # type: ignore[arg-type]

    assert key in str(refusal.value)
    assert repr(arguments["id"]) in str(refusal.value)


@case("A17")
def test_a_duplicate_id_is_named() -> None:
    with pytest.raises(SpecError, match="'a'"):
        SupervisorSpec("root", [CHILD, CHILD])


@case("A16")
@pytest.mark.parametrize("auto_shutdown", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_a_permanent_significant_child_is_refused(auto_shutdown: AutoShutdown) -> None:
    with pytest.raises(SpecError, match=r"'boss'.*significant"):
        SupervisorSpec("root", [ChildSpec("boss", start, significant=True)], auto_shutdown=auto_shutdown)


@case("A16")
def test_a_significant_child_under_never_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'boss'.*significant"):
        SupervisorSpec("root", [ChildSpec("boss", start, restart=Restart.TRANSIENT, significant=True)])


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
def test_a_significant_child_that_can_end_is_accepted(restart: Restart) -> None:
    spec = SupervisorSpec("root", [ChildSpec("boss", start, restart=restart, significant=True)], auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)

    assert spec.children[0].significant is True


@case("A17")
def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError, match="restrat"):
        ChildSpec("a", start, restrat=Restart.TEMPORARY)  # type: ignore[call-arg]


@case("A17")
def test_a_missing_start_is_refused() -> None:
    with pytest.raises(TypeError, match="start"):
        ChildSpec("a")  # type: ignore[call-arg]


@case("A12", "O1")
def test_the_defaults_are_five_seconds_for_a_worker_and_no_limit_for_a_supervisor() -> None:
    assert (5.0, INFINITY) == (CHILD.shutdown_s, SupervisorSpec("root", []).shutdown_s)
    assert (Restart.PERMANENT, Restart.PERMANENT) == (CHILD.restart, SupervisorSpec("root", []).restart)


@case("A12")
@pytest.mark.parametrize("shutdown_s", [BRUTAL, INFINITY, 0, 3, 2.5])
def test_every_documented_grace_is_accepted(shutdown_s: float) -> None:
    assert shutdown_s == ChildSpec("a", start, shutdown_s=shutdown_s).shutdown_s


def test_a_spec_is_a_value_that_nobody_can_change() -> None:
    children = [CHILD]
    spec = SupervisorSpec("root", children)
    children.append(ChildSpec("b", start))

    assert (CHILD,) == spec.children
    with pytest.raises(AttributeError):
        spec.max_restarts = 9  # type: ignore[misc]
