"""From what an author wrote to what the runtime runs: an actor's subscriptions, ticks, hooks, and how to make an instance.

Law: everything that can be wrong with an actor is found here, before anything starts, and told in one go. Nothing is
registered anywhere: the same class may be defined twice, under two names, with other settings and topics.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from tars.supervisor.errors import TarsError
from tars.supervisor.problem import KeyPath, Problem, Unstructurable, dotted, suggestion
from tars.supervisor.structure import structure as structure_strictly

from .actor import Actor, Subscribed, Ticking, marks_of
from .contracts import STANDARD, TopicRegistry
from .declared import declared_by
from .mqtt.topics import Template, TopicError, parse_template, validate_topic
from .reflection import UNUSABLE, Member, event_type, is_async, members, place, required_arguments, settings_owner, settings_type, wants_ctx

T = TypeVar("T")

Hook: TypeAlias = Callable[[Any, Any], Awaitable[None]]
"""``started`` or ``stopping``, unbound: ``await hook(actor, ctx)``."""


class DefinitionError(TarsError):
    """An actor that cannot run as it is written or configured. `problems` holds everything that is wrong, at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(f"{dotted(problem.key)}: {problem.message}" for problem in self.problems)


class Structure(Protocol):
    """`tars.supervisor.structure.structure`, or ``Config.structure``, which notes problems instead of raising them."""

    def __call__(self, cls: type[T], raw: object, key: KeyPath, /) -> T:
        """`raw` as a `cls`; `key` is where it stands in the file."""
        ...


@attrs.frozen(kw_only=True)
class CallableDefinition:
    """A method (`attribute` is its name) or a plain function (`attribute` is ""), and how it wants to be called."""

    id: str
    attribute: str
    function: Callable[..., Any]
    is_async: bool
    """False: a ``def``, for a worker thread."""
    wants_ctx: bool

    def bind(self, actor: Actor) -> Callable[..., Any]:
        """What to call for this incarnation: a subscription's with ``(event)``, a tick's with ``()``; then ``ctx`` if `wants_ctx`."""
        bound: Callable[..., Any] = getattr(actor, self.attribute) if self.attribute else self.function
        return bound


@attrs.frozen(kw_only=True)
class SubscriptionDefinition(CallableDefinition):
    """`id` is unique in the service and stable across its restarts: ``ACTOR:TEMPLATE``, as renamed by the config.

    Where two methods of an actor have the same template, the method's name follows: ``ACTOR:TEMPLATE:METHOD``.
    `event_type` is what `tars.actors.contracts.decode` takes; its hooks are compiled.
    """

    template: Template
    qos: int
    event_type: type[Any]


@attrs.frozen(kw_only=True)
class TickDefinition(CallableDefinition):
    """`id` is ``ACTOR:METHOD`` (``ACTOR:FUNCTION``); `every_s` > 0."""

    every_s: float


@attrs.frozen(kw_only=True)
class ActorDefinition:
    """One ``[actors.NAME]``. `make` gives a new instance, its settings set before ``__init__``.

    `topics` are the config's renames, topic or template as written in the code → as used; a publish looks its topic up here.
    """

    name: str
    make: Callable[[], Actor] = attrs.field(repr=False)
    subscriptions: tuple[SubscriptionDefinition, ...]
    ticks: tuple[TickDefinition, ...]
    started: Hook | None
    stopping: Hook | None
    topics: Mapping[str, str]


def define(
    name: str,
    use: object,
    *,
    settings: Mapping[str, Any] | None = None,
    topics: Mapping[str, str] | None = None,
    registry: TopicRegistry = STANDARD,
    structure: Structure = structure_strictly,
) -> ActorDefinition:
    """Read the actor class, or decorated function, `use` as the actor `name`. Raises `DefinitionError`.

    `settings` is the raw ``[actors.NAME.settings]``; `topics` renames templates that `use` subscribes to, exactly as
    written there, topics that it declares with `publishes`, and topics of `registry`.
    """
    return _Definer(name, dict(settings or {}), dict(topics or {}), registry, structure).define(use)


@attrs.frozen
class _Definer:
    """One call of `define`: its arguments, and what was found wrong so far."""

    name: str
    settings: dict[str, Any]
    topics: dict[str, str]
    registry: TopicRegistry
    structure: Structure
    problems: list[Problem] = attrs.field(factory=list)

    def define(self, use: object) -> ActorDefinition:
        if not isinstance(use, FunctionType) and not (isinstance(use, type) and issubclass(use, Actor)):
            raise DefinitionError([Problem(("actors", self.name, "use"), _not_an_actor(use))])
        cls = Actor if isinstance(use, FunctionType) else use
        found = members(use, self._note)
        if not found and not self.problems:
            self._note(use, "has nothing to do: no @subscribe and no @every")
        subscribed = [(member, member.mark) for member in found if isinstance(member.mark, Subscribed)]
        ticking = [(member, member.mark) for member in found if isinstance(member.mark, Ticking)]
        self._check_renames({mark.template for _, mark in subscribed}, use)
        definition = ActorDefinition(
            name=self.name,
            make=self._maker(cls),
            subscriptions=self._subscriptions(subscribed),
            ticks=self._ticks(ticking),
            started=self._hook(cls, "started"),
            stopping=self._hook(cls, "stopping"),
            topics=MappingProxyType(self.topics),
        )
        if self.problems:
            raise DefinitionError(self.problems)
        return definition

    # -- what is called ---------------------------------------------------------------------------

    def _subscriptions(self, marked: list[tuple[Member, Subscribed]]) -> tuple[SubscriptionDefinition, ...]:
        renamed = [self.topics.get(mark.template, mark.template) for _, mark in marked]
        made: list[SubscriptionDefinition] = []
        ids: set[str] = set()
        for (member, mark), topic in zip(marked, renamed, strict=True):
            suffix = f":{member.attribute}" if member.attribute and renamed.count(topic) > 1 else ""
            subscription_id = f"{self.name}:{topic}{suffix}"
            if subscription_id in ids:
                self._note(member.function, f'subscribes to "{topic}" twice')
            ids.add(subscription_id)
            before = ("self", "event") if member.attribute else ("event",)
            ctx = wants_ctx(member.function, before, self._note)
            kind = event_type(member.function, len(before) - 1, self._note)
            template = self._template(mark.template, topic)
            asynchronous = is_async(member.function, self._note)
            if ctx is not None and kind is not None and template is not None:
                made.append(
                    SubscriptionDefinition(
                        id=subscription_id,
                        attribute=member.attribute,
                        function=member.function,
                        is_async=asynchronous,
                        wants_ctx=ctx,
                        template=template,
                        qos=mark.qos,
                        event_type=kind,
                    )
                )
        return tuple(made)

    def _ticks(self, marked: list[tuple[Member, Ticking]]) -> tuple[TickDefinition, ...]:
        made: dict[str, TickDefinition] = {}
        for member, mark in marked:
            tick_id = f"{self.name}:{member.name}"
            if tick_id in made:
                self._note(member.function, "has more than one @every")
            made[tick_id] = TickDefinition(
                id=tick_id,
                attribute=member.attribute,
                function=member.function,
                is_async=is_async(member.function, self._note),
                wants_ctx=bool(wants_ctx(member.function, ("self",) if member.attribute else (), self._note)),
                every_s=mark.every_s,
            )
        return tuple(made.values())

    def _hook(self, cls: type[Actor], name: str) -> Hook | None:
        hook = inspect.getattr_static(cls, name)
        if hook is inspect.getattr_static(Actor, name) or marks_of(hook):  # a marked one is complained of already
            return None
        if not inspect.iscoroutinefunction(hook):
            self._note(hook if isinstance(hook, FunctionType) else cls, f"{name!r} must be an async def")
            return None
        if wants_ctx(hook, ("self",), self._note) is False:
            self._note(hook, "takes (self); expected (self, ctx)")
        found: Hook = hook
        return found

    # -- topics -----------------------------------------------------------------------------------

    def _template(self, written: str, topic: str) -> Template | None:
        try:
            template = parse_template(topic)
        except TopicError as error:
            self._rename_problem(written, str(error))
            return None
        kept = {name for _, name in template.names}
        lost = [f"{{{name}}}" for _, name in parse_template(written).names if name not in kept]
        if lost:
            self._rename_problem(written, f'"{topic}" must keep {", ".join(lost)}')
        return template

    def _check_renames(self, subscribed: set[str], use: object) -> None:
        declared = {each.topic for each in declared_by(use) if each.topic and "{" not in each.topic}  # only a topic as it is is looked up
        published = {pair.topic for pair in self.registry.pairs} | declared
        for key, topic in self.topics.items():
            if key in subscribed:
                continue
            if key not in published:
                hint = suggestion(key, sorted(subscribed)) or suggestion(key, sorted(published))
                self._rename_problem(
                    key,
                    f"is no topic the actor subscribes to or declares with @publishes, nor one of the registry{hint}",
                )
                continue
            try:
                validate_topic(topic)
            except TopicError as error:
                self._rename_problem(key, str(error))

    def _rename_problem(self, key: str, message: str) -> None:
        problem = Problem(("actors", self.name, "topics", key), message)
        if problem not in self.problems:  # two methods may share a template
            self.problems.append(problem)

    # -- the instance -----------------------------------------------------------------------------

    def _maker(self, cls: type[Actor]) -> Callable[[], Actor]:
        if inspect.isabstract(cls):
            self._note(cls, "is abstract: some of its methods are only declared")
        if needed := required_arguments(cls):
            self._note(
                cls, f"__init__ needs {', '.join(needed)}, but no arguments are given; what comes from outside belongs in its settings"
            )
        kind = settings_type(cls, self._note)
        if kind is None and settings_owner(cls) is None and self.settings:
            why = "a plain function has none" if cls is Actor else f"{cls.__qualname__} has none; it would annotate settings: SomeSettings"
            self.problems.append(Problem(("actors", self.name, "settings"), why))
        settings = None if kind is None else self._structured(kind)

        def make() -> Actor:
            actor = cls.__new__(cls)
            if kind is not None:
                object.__setattr__(actor, "settings", settings)  # however the author's class guards its attributes
            cls.__init__(actor)
            return actor

        return make

    def _structured(self, kind: type[Any]) -> Any:
        try:
            return self.structure(kind, self.settings, ("actors", self.name, "settings"))
        except Unstructurable as error:
            self.problems.extend(error.problems)
        except UNUSABLE as error:
            self._note(kind, f"the annotation of a field cannot be used: {error}")
        return None

    def _note(self, what: object, message: str) -> None:
        problem = Problem(("actors", self.name, "use"), f"{place(what)}: {message}")
        if problem not in self.problems:  # a function with several decorators is looked at once for each
            self.problems.append(problem)


def _not_an_actor(use: object) -> str:
    if isinstance(use, type):
        return f"{place(use)} is a class, but not a subclass of tars.actors.Actor"
    if isinstance(use, ModuleType):
        return f'{use.__name__} is a module; name what is in it: "{use.__name__}:Object"'
    if isinstance(use, Actor):
        return f"is an instance of {place(type(use))}; name the class: every incarnation gets an instance of its own"
    return f"is a value of type {type(use).__name__}; expected a subclass of tars.actors.Actor, or a function with @subscribe"
