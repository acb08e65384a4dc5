"""What an author's class or function comes to, and every mistake that is found before it runs."""

from __future__ import annotations

import abc
import datetime as dt
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest

from tars.actors.actor import Actor, every, subscribe
from tars.actors.contracts import Envelope, Pair, TopicRegistry
from tars.actors.declared import publishes
from tars.actors.definition import ActorDefinition, DefinitionError, define
from tars.actors.mqtt.topics import Template

if TYPE_CHECKING:
    from nowhere import Context  # type: ignore[import-not-found]  # what only an annotation needs is not resolved

REGISTRY = TopicRegistry((Pair("llm.request", "llm/request"), Pair("stt.final", "stt/final")))


@attrs.frozen
class Temperature:
    celsius: float


@attrs.frozen
class Opaque:
    thing: object()  # type: ignore[valid-type]


@attrs.frozen
class Settings:
    room: str
    limit: int = 3

    def __attrs_post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("limit must be >= 0")


@attrs.frozen
class Dated:
    since: dt.datetime


class Thermostat(Actor):
    settings: Settings

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.room = self.settings.room

    async def started(self, ctx: Context) -> None:
        self.seen.append(ctx)

    @subscribe("sensors/{room}/temp")
    @subscribe("stt/final", qos=0)
    async def on_temperature(self, event: Temperature, ctx: Context) -> None:
        self.seen.append((event, ctx))

    @subscribe("raw/#")
    def on_raw(self, payload: bytes) -> None:
        self.seen.append(payload)

    @every(5)
    async def report(self, ctx: Context) -> None:
        self.seen.append(ctx)

    @every(0.5)
    def measure(self) -> None:
        self.seen.append("measured")


@subscribe("a/{x}")
@subscribe("b")
async def plain(event: dict[str, Any]) -> None: ...


@every(1)
async def clock(ctx: Context) -> None: ...


def thermostat(**options: Any) -> ActorDefinition:
    return define("thermostat", Thermostat, **{"settings": {"room": "attic"}, "registry": REGISTRY, **options})


# -- what comes out -------------------------------------------------------------------------------


def test_a_class_becomes_its_subscriptions_ticks_and_hooks() -> None:
    definition = thermostat()
    shape = [
        (each.id, each.template, each.qos, each.attribute, each.event_type, each.is_async, each.wants_ctx)
        for each in definition.subscriptions
    ]
    ticks = [(each.id, each.every_s, each.attribute, each.is_async, each.wants_ctx) for each in definition.ticks]
    room = Template("sensors/+/temp", ((1, "room"),))

    assert [
        ("thermostat:sensors/{room}/temp", room, 1, "on_temperature", Temperature, True, True),
        ("thermostat:stt/final", Template("stt/final"), 0, "on_temperature", Temperature, True, True),
        ("thermostat:raw/#", Template("raw/#"), 1, "on_raw", bytes, False, False),
    ] == shape
    assert [
        ("thermostat:report", 5.0, "report", True, True),
        ("thermostat:measure", 0.5, "measure", False, False),
    ] == ticks
    assert Thermostat.started is definition.started
    assert None is definition.stopping


async def test_every_instance_is_new_has_its_settings_before_init_and_is_called_through_the_definition() -> None:
    definition = thermostat()
    one, two = cast("Thermostat", definition.make()), cast("Thermostat", definition.make())
    assert definition.started is not None
    await definition.started(one, "ctx")
    definition.subscriptions[2].bind(one)(b"x")
    definition.ticks[1].bind(one)()

    assert ["ctx", b"x", "measured"] == one.seen
    assert [] == two.seen
    assert (Settings("attic"), "attic") == (two.settings, two.room)


def test_a_plain_function_is_an_actor() -> None:
    definition = define("echo", plain)
    actor = definition.make()

    assert ["echo:a/{x}", "echo:b"] == [each.id for each in definition.subscriptions]
    assert [dict, dict] == [each.event_type for each in definition.subscriptions]
    assert all(plain is each.bind(actor) for each in definition.subscriptions)
    assert (None, None, ()) == (definition.started, definition.stopping, definition.ticks)
    assert ["clock:clock"] == [each.id for each in define("clock", clock).ticks]


def test_one_class_may_be_two_actors() -> None:
    attic, cellar = thermostat(), define("cellar", Thermostat, settings={"room": "cellar"}, topics={"raw/#": "raw2/#"})

    assert ("attic", "cellar") == (cast("Thermostat", attic.make()).room, cast("Thermostat", cellar.make()).room)
    assert ["thermostat:raw/#", "cellar:raw2/#"] == [attic.subscriptions[2].id, cellar.subscriptions[2].id]


def test_two_methods_on_one_template_are_told_apart_by_their_names() -> None:
    class Twice(Actor):
        @subscribe("a")
        async def first(self, event: bytes) -> None: ...

        @subscribe("a")
        @subscribe("b")
        async def second(self, event: bytes) -> None: ...

    assert ["x:a:first", "x:a:second", "x:b"] == [each.id for each in define("x", Twice).subscriptions]
    assert ["x:a:first", "x:a:second", "x:c"] == [each.id for each in define("x", Twice, topics={"b": "c"}).subscriptions]
    assert ["x:c:first", "x:c:second", "x:b"] == [each.id for each in define("x", Twice, topics={"a": "c"}).subscriptions]


def test_methods_are_inherited_overridden_and_dropped() -> None:
    class Base(Actor):
        @subscribe("a")
        async def on_a(self, event: bytes) -> None: ...

        @subscribe("b")
        async def on_b(self, event: bytes) -> None: ...

        @subscribe("c")
        async def on_c(self, event: bytes) -> None: ...

    class Derived(Base):
        on_a = None  # type: ignore[assignment]

        @subscribe("b2")
        async def on_b(self, event: bytes) -> None: ...

    assert ["x:b2", "x:c"] == [each.id for each in define("x", Derived).subscriptions]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (dict, dict),
        (dict[str, Any], dict),
        (dict[str, object], dict),
        (Envelope, Envelope),
        (bytes, bytes),
        (Temperature, Temperature),
        ("Temperature", Temperature),
    ],
)
def test_the_first_parameter_says_what_a_message_is_decoded_to(annotation: object, expected: object) -> None:
    async def handler(event: Any) -> None: ...

    handler.__annotations__["event"] = annotation
    (subscription,) = define("x", subscribe("a")(handler)).subscriptions

    assert expected is subscription.event_type


def test_a_decorator_between_that_wraps_is_seen_through() -> None:
    def logged(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> None:
            await function(*args)

        return wrapper

    @logged
    @subscribe("a")
    async def handler(event: Temperature, ctx: Context) -> None: ...

    (subscription,) = define("x", handler).subscriptions

    assert (Temperature, True, True) == (subscription.event_type, subscription.is_async, subscription.wants_ctx)


# -- topics ---------------------------------------------------------------------------------------


def test_a_rename_reaches_subscriptions_and_publishes() -> None:
    topics = {"sensors/{room}/temp": "$share/g/{floor}/{room}", "stt/final": "robot7/stt/final", "llm/request": "robot7/llm"}
    definition = thermostat(topics=topics)

    assert topics == definition.topics
    assert ["thermostat:$share/g/{floor}/{room}", "thermostat:robot7/stt/final", "thermostat:raw/#"] == [
        each.id for each in definition.subscriptions
    ]
    assert Template("$share/g/+/+", ((0, "floor"), (1, "room"))) == definition.subscriptions[0].template


def test_a_topic_that_an_actor_declares_to_publish_to_can_be_renamed_one_that_stands_for_many_cannot() -> None:
    @publishes("alarm.heat", topic="alarms/heat")
    @publishes("room.heat", topic="rooms/{room}/heat")
    @subscribe("in")
    def tells(event: bytes) -> None: ...

    assert {"alarms/heat": "house/alarms"} == define("x", tells, topics={"alarms/heat": "house/alarms"}).topics
    (problem,) = mistakes(define, "x", tells, topics={"rooms/{room}/heat": "house/{room}"})

    assert problem.startswith('actors.x.topics."rooms/{room}/heat": is no topic the actor subscribes to or declares')


@pytest.mark.parametrize(
    ("topics", "line"),
    [
        (
            {"stt/fnal": "x"},
            'topics."stt/fnal": is no topic the actor subscribes to or declares with @publishes, nor one of the registry; did you mean "',
        ),
        ({"llm/reqest": "x"}, 'did you mean "llm/request"?'),
        ({"sensors/+/temp": "x"}, 'did you mean "sensors/{room}/temp"?'),
        ({"stt/final": "a/#/b"}, 'actors.thermostat.topics."stt/final": filter'),
        ({"stt/final": ""}, "at least one character"),
        ({"sensors/{room}/temp": "a/+"}, 'actors.thermostat.topics."sensors/{room}/temp": "a/+" must keep {room}'),
        ({"llm/request": "robot7/#"}, "'#' is a wildcard, allowed in subscriptions only"),
        ({"raw/#": "stt/{b}x"}, "one whole level"),
    ],
)
def test_a_rename_that_means_nothing_is_a_mistake(topics: dict[str, str], line: str) -> None:
    (problem,) = mistakes(thermostat, topics=topics)

    assert line in problem


# -- mistakes -------------------------------------------------------------------------------------


def mistakes(make: Callable[..., ActorDefinition], *args: object, **options: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        make(*args, **options)
    return str(caught.value).splitlines()


def of_class(**members: Any) -> type[Actor]:
    """An actor with a good handler, and what is given."""

    @subscribe("good")
    async def good(self: Actor, event: bytes) -> None: ...

    return type("Broken", (Actor,), {"good": good, "__module__": __name__, "__qualname__": "Broken", **members})


class Wrong:
    """Methods with one mistake each; `of_class` makes them an actor's."""

    @subscribe("a")
    async def no_parameter(self) -> None: ...

    @subscribe("a")
    async def too_many(self, event: bytes, ctx: Context, more: int = 3) -> None: ...

    @subscribe("a")
    async def stars(self, *events: bytes) -> None: ...

    @subscribe("a")
    async def keyword(self, event: bytes, *, ctx: Context) -> None: ...

    @subscribe("a")
    async def unannotated(self, event) -> None: ...  # type: ignore[no-untyped-def]

    @subscribe("a")
    async def unresolved(self, event: Temprature) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    @subscribe("a")
    async def scalar(self, event: int) -> None: ...

    @subscribe("a")
    async def union(self, event: Temperature | bytes) -> None: ...

    @subscribe("a")
    async def numbers(self, event: dict[str, int]) -> None: ...

    @subscribe("a")
    async def opaque(self, event: Opaque) -> None: ...

    @subscribe("a")
    async def generator(self, event: bytes) -> AsyncIterator[bytes]:
        yield event

    @subscribe("a")
    @subscribe("a")
    async def twice(self, event: bytes) -> None: ...

    @every(1)
    @every(2)
    async def ticks_twice(self) -> None: ...

    @every(1)
    async def tick_with_event(self, event: bytes, ctx: Context) -> None: ...

    @every(1)
    @subscribe("a")
    async def both(self, event: bytes) -> None: ...

    @subscribe("a")
    async def inner(self, event: bytes) -> None: ...

    @functools.wraps(inner)
    def hidden(self, event: bytes) -> Awaitable[None]:
        return self.inner(event)

    @staticmethod
    @subscribe("a")
    async def static(event: bytes) -> None: ...

    @classmethod
    @subscribe("a")
    async def of_the_class(cls, event: bytes) -> None: ...

    @subscribe("a")
    async def started(self, event: bytes) -> None: ...

    @subscribe("a")
    async def settings(self, event: bytes) -> None: ...


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ("no_parameter", "takes (self); expected (self, event) or (self, event, ctx)"),
        ("too_many", "takes (self, event, ctx, more=3); expected (self, event) or (self, event, ctx)"),
        ("stars", "takes (self, *events); expected"),
        ("keyword", "takes (self, event, ctx); expected"),
        ("unannotated", "the parameter 'event' has no annotation; expected an attrs class, dict, Envelope or bytes"),
        ("unresolved", "the annotation of the parameter 'event' cannot be used: name 'Temprature' is not defined"),
        ("scalar", "the parameter 'event' is annotated with int; expected an attrs class"),
        ("union", "the parameter 'event' is annotated with"),
        ("numbers", "the parameter 'event' is annotated with dict[str, int]; expected"),
        ("opaque", "the annotation of the parameter 'event' cannot be used: "),
        ("generator", "yields; a handler returns"),
        ("twice", 'subscribes to "a" twice'),
        ("ticks_twice", "has more than one @every"),
        ("tick_with_event", "takes (self, event, ctx); expected (self) or (self, ctx)"),
        ("hidden", "is an async def inside a wrapper that is a def; make the wrapper an async def"),
        ("both", "is given messages by @subscribe and none by @every; make it two functions"),
        ("static", "is a staticmethod; a handler is a method"),
        ("of_the_class", "is a classmethod; a handler is a method"),
        ("started", "the name 'started' is the runtime's; give the method another"),
        ("settings", "the name 'settings' is the runtime's; give the method another"),
    ],
)
def test_a_mistake_in_a_handler_is_told_with_actor_function_and_line(attribute: str, why: str) -> None:
    method = vars(Wrong)[attribute]
    function = getattr(method, "__func__", method)
    lines = mistakes(define, "x", of_class(**{attribute: method}))
    place = f"actors.x.use: {__name__}.{function.__qualname__} (line {function.__code__.co_firstlineno}): "

    assert [] == [line for line in lines if not line.startswith(place)]
    assert [line for line in lines if line.startswith(place + why)]


def test_every_mistake_of_an_actor_is_in_one_report() -> None:
    cls = of_class(**{name: vars(Wrong)[name] for name in ("scalar", "unannotated", "no_parameter")})
    lines = mistakes(define, "x", cls, settings={"a": 1}, topics={"nowhere": "b"})

    assert 5 == len(lines)
    assert 2 == len([line for line in lines if line.startswith(("actors.x.settings:", "actors.x.topics.nowhere:"))])


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (Temperature, f"{__name__}.Temperature is a class, but not a subclass of tars.actors.Actor"),
        (attrs, 'attrs is a module; name what is in it: "attrs:Object"'),
        (Actor(), "is an instance of tars.actors.actor.Actor; name the class"),
        (3, "is a value of type int; expected a subclass of tars.actors.Actor, or a function with @subscribe"),
        (functools.partial(plain), "is a value of type partial"),
        (Actor, "has nothing to do: no @subscribe and no @every"),
        (mistakes, "has nothing to do: no @subscribe and no @every"),
    ],
)
def test_what_is_no_actor_is_told_so(use: object, why: str) -> None:
    (line,) = mistakes(define, "x", use)

    assert line.startswith("actors.x.use: ")
    assert why in line


def test_an_override_without_decorators_is_a_mistake_and_not_silence() -> None:
    class Base(Actor):
        @subscribe("a")
        async def on_a(self, event: bytes) -> None: ...

    class Derived(Base):
        async def on_a(self, event: bytes) -> None: ...

    (line,) = mistakes(define, "x", Derived)

    assert "Derived.on_a" in line
    assert line.endswith("overrides a decorated method: repeat its decorators, or set the name to None to drop it")


def members_of_class() -> dict[str, tuple[dict[str, Any], str]]:
    def init(self: Actor, broker: str, *, port: int, retries: int = 3, **_more: int) -> None: ...

    def started(self: Actor, ctx: Context) -> None: ...

    async def stopping(self: Actor) -> None: ...

    async def stopping_with_three(self: Actor, ctx: Context, more: int) -> None: ...

    return {
        "init": ({"__init__": init}, "__init__ needs broker, port, but no arguments are given"),
        "started": ({"started": started}, "'started' must be an async def"),
        "stopping": ({"stopping": stopping}, "takes (self); expected (self, ctx)"),
        "stopping_with_three": ({"stopping": stopping_with_three}, "takes (self, ctx, more); expected (self) or (self, ctx)"),
        "no_hook": ({"stopping": None}, "'stopping' must be an async def"),
        "settings_dict": ({"__annotations__": {"settings": dict}}, "'settings' is annotated with dict; expected an attrs class"),
        "settings_type": ({"__annotations__": {"settings": Dated}}, "Dated: the annotation of a field cannot be used: Unsupported type"),
        "settings_unknown": (
            {"__annotations__": {"settings": "Setings"}},
            "the annotation of 'settings' cannot be used: name 'Setings' is not defined",
        ),
    }


@pytest.mark.parametrize("case", sorted(members_of_class()))
def test_a_class_that_cannot_be_made_or_called_is_a_mistake(case: str) -> None:
    members, why = members_of_class()[case]
    (line,) = mistakes(define, "x", of_class(**members))

    assert line.startswith("actors.x.use: ")
    assert why in line


def test_an_abstract_class_is_a_mistake() -> None:
    class Half(Actor, abc.ABC):
        @subscribe("a")
        async def on_a(self, event: bytes) -> None: ...

        @abc.abstractmethod
        def answer(self) -> str: ...

    (line,) = mistakes(define, "x", Half)

    assert line.endswith("Half: is abstract: some of its methods are only declared")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "actors.thermostat.settings.room: is missing; expected a string"),
        ({"room": 3}, "actors.thermostat.settings.room: expected a string, found 3 (an integer)"),
        ({"room": "a", "limt": 3}, 'actors.thermostat.settings.limt: unknown key; did you mean "limit"?'),
        ({"room": "a", "limit": -1}, "actors.thermostat.settings: limit must be >= 0"),
    ],
)
def test_a_mistake_in_settings_stands_at_its_key(settings: dict[str, object], line: str) -> None:

    assert [line] == mistakes(thermostat, settings=settings)


@pytest.mark.parametrize(
    ("use", "why"),
    [(of_class(), "Broken has none; it would annotate settings: SomeSettings"), (plain, "a plain function has none")],
)
def test_settings_for_an_actor_without_any_are_a_mistake(use: object, why: str) -> None:

    assert [f"actors.x.settings: {why}"] == mistakes(define, "x", use, settings={"a": 1})
