"""What Python knows of an author's class or function: its marks, parameters, annotations and place in the source.

Law: nothing here raises for an author's mistake. It is told to `note`, and the answer is then None, so that one look finds
every mistake.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any, Final, TypeAlias

import attrs
from cattrs.errors import StructureHandlerNotFoundError

from .actor import Actor, Mark, marks_of
from .contracts import prepare

Note: TypeAlias = Callable[[object, str], None]
"""Takes what is wrong (a function, a class) and a sentence about it."""

_TAKEN: Final = frozenset({"started", "stopping", "settings"})
UNUSABLE: Final = (NameError, AttributeError, TypeError, SyntaxError, StructureHandlerNotFoundError)
"""What an annotation raises when it is resolved or compiled: it names nothing, or a type that nothing can be read into."""

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MESSAGES: Final = "an attrs class, dict, Envelope or bytes"


@attrs.frozen
class Member:
    """One decorator and what it stands on: a method (`attribute` is its name) or a plain function (`attribute` is "")."""

    attribute: str
    function: Callable[..., Any]
    mark: Mark

    @property
    def name(self) -> str:
        """What to call it in an id."""
        return self.attribute or self.function.__name__


def place(what: object) -> str:
    """Where an author finds it: ``package.module.Class.method (line 12)``."""
    name = getattr(what, "__qualname__", None)
    if name is None:
        return f"a value of type {type(what).__name__}"
    code = getattr(what, "__code__", None)
    return f"{getattr(what, '__module__', '?')}.{name}" + ("" if code is None else f" (line {code.co_firstlineno})")


# -- marks --------------------------------------------------------------------------------------


def members(use: type[Actor] | FunctionType, note: Note) -> list[Member]:
    """One for each decorator: base classes first, else in the order of the source."""
    functions = [("", use)] if isinstance(use, FunctionType) else list(_methods(use, note))
    for _, function in functions:
        if len({type(mark) for mark in marks_of(function)}) > 1:
            note(function, "is given messages by @subscribe and none by @every; make it two functions")
    return [Member(attribute, function, mark) for attribute, function in functions for mark in marks_of(function)]


def _methods(cls: type[Actor], note: Note) -> Iterator[tuple[str, FunctionType]]:
    for attribute in dict.fromkeys(attribute for base in reversed(cls.__mro__) for attribute in vars(base)):
        found = inspect.getattr_static(cls, attribute)
        function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        if marks_of(function):
            if function is not found:
                note(function, f"is a {type(found).__name__}; a handler is a method")
            elif attribute in _TAKEN:
                note(function, f"the name {attribute!r} is the runtime's; give the method another")
            else:
                yield attribute, function
        elif found is not None and any(marks_of(vars(base).get(attribute)) for base in cls.__mro__):
            note(found, "overrides a decorated method: repeat its decorators, or set the name to None to drop it")


# -- parameters ---------------------------------------------------------------------------------


def wants_ctx(function: Callable[..., Any], before: tuple[str, ...], note: Note) -> bool | None:
    """Does it take `ctx` behind the parameters `before`? None when it takes anything else."""
    parameters = _parameters(function)
    positional = all(parameter.kind in _POSITIONAL for parameter in parameters)
    if not positional or len(parameters) not in (len(before), len(before) + 1):
        takes = ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in parameters)
        note(function, f"takes ({takes}); expected ({', '.join(before)}) or ({', '.join((*before, 'ctx'))})")
        return None
    return len(parameters) > len(before)


def is_async(function: Callable[..., Any], note: Note) -> bool:
    """Is it an ``async def``? What yields, or hides an ``async def`` in a ``def``, is a mistake."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        note(function, "yields; a handler returns")
    found = inspect.iscoroutinefunction(function)
    if not found and inspect.iscoroutinefunction(inspect.unwrap(function)):
        note(function, "is an async def inside a wrapper that is a def; make the wrapper an async def")
    return found


def required_arguments(cls: type[Actor]) -> list[str]:
    """What ``__init__`` cannot do without."""
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = _parameters(cls.__init__)[1:]
    return [parameter.name for parameter in parameters if parameter.default is parameter.empty and parameter.kind not in rest]


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


# -- annotations --------------------------------------------------------------------------------


def event_type(function: Callable[..., Any], at: int, note: Note) -> type[Any] | None:
    """What the parameter number `at` is annotated with, if a message can be decoded to it; its hooks are compiled then."""
    parameters = _parameters(function)[at:]
    if not parameters:
        return None  # told by `wants_ctx`
    name, annotation = parameters[0].name, parameters[0].annotation
    if annotation is inspect.Parameter.empty:
        note(function, f"the parameter {name!r} has no annotation; expected {_MESSAGES}")
        return None
    try:
        kind = _resolved(annotation, getattr(inspect.unwrap(function), "__globals__", {}), {})
        if not (kind is bytes or _is_plain_dict(kind) or (isinstance(kind, type) and attrs.has(kind))):
            note(function, f"the parameter {name!r} is annotated with {_name(kind)}; expected {_MESSAGES}")
            return None
        found: type[Any] = dict if _is_plain_dict(kind) else kind
        prepare(found)
    except UNUSABLE as error:
        note(function, f"the annotation of the parameter {name!r} cannot be used: {error}")
        return None
    return found


def settings_type(cls: type[Actor], note: Note) -> type[Any] | None:
    """The attrs class that the actor's ``settings`` is annotated with; None, and nothing noted, when it has none."""
    owner = settings_owner(cls)
    if owner is None:
        return None
    try:
        kind = _resolved(
            vars(owner)["__annotations__"]["settings"], getattr(sys.modules.get(owner.__module__), "__dict__", {}), dict(vars(owner))
        )
    except UNUSABLE as error:
        note(owner, f"the annotation of 'settings' cannot be used: {error}")
        return None
    if not (isinstance(kind, type) and attrs.has(kind)):
        note(owner, f"'settings' is annotated with {_name(kind)}; expected an attrs class")
        return None
    return kind


def settings_owner(cls: type[Actor]) -> type[Any] | None:
    """The class, of `cls` and its bases, that annotates ``settings``."""
    return next((base for base in cls.__mro__ if "settings" in vars(base).get("__annotations__", {})), None)


def _resolved(annotation: object, names: dict[str, Any], local_names: dict[str, Any]) -> Any:
    """The one annotation, of text or not. The others may stand in imports that are there for type checkers only."""
    only = SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(only, names, local_names)["it"]


def _is_plain_dict(kind: object) -> bool:
    return kind is dict or (typing.get_origin(kind) is dict and typing.get_args(kind) in ((str, Any), (str, object)))


def _name(kind: object) -> str:
    return kind.__qualname__ if isinstance(kind, type) else repr(kind)
