"""What the router declares that it publishes is what its source publishes: no more, no less."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from operator import attrgetter

from tars.actors.declared import declared_by
from tars.actors.services.router import Router, actor


def published() -> Iterator[tuple[str, bool]]:
    """Event type and retain flag of every ``ctx.publish(...)``."""
    for node in ast.walk(ast.parse(inspect.getsource(actor))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ctx.publish":
            first = node.args[0]
            event_type = first.value if isinstance(first, ast.Constant) else attrgetter(ast.unparse(first))(actor)
            assert isinstance(event_type, str)
            yield event_type, any(keyword.arg == "retain" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)


def test_the_router_declares_what_it_publishes() -> None:
    assert set(published()) == {(each.event_type, each.retain) for each in declared_by(Router)}
    assert {(None, None, 1)} == {(each.model, each.topic, each.qos) for each in declared_by(Router)}
