"""A range that stands in an annotation holds for an actor's settings as it does for messages."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import pytest

from tars.actors import Actor, subscribe
from tars.actors.contracts import Between, ZeroToOne
from tars.actors.definition import DefinitionError, define


@attrs.frozen
class MixerSettings:
    volume: ZeroToOne = 0.5
    bands: Annotated[int, Between(1, 10)] | None = None
    gains: list[Annotated[float, Between(at_least=0)]] = attrs.field(factory=list)


class Mixer(Actor):
    settings: MixerSettings

    @subscribe("in")
    async def on_in(self, event: bytes) -> None: ...


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"volume": 1.5}, "actors.mixer.settings.volume: expected a number in 0..1, found 1.5 (a float)"),
        ({"volume": "loud"}, 'actors.mixer.settings.volume: expected a number, found "loud" (a string)'),
        ({"bands": 0}, "actors.mixer.settings.bands: expected an integer in 1..10, found 0 (an integer)"),
        ({"gains": [1.0, -1.0]}, "actors.mixer.settings.gains[1]: expected a number >= 0, found -1.0 (a float)"),
    ],
)
def test_what_is_outside_is_refused_with_the_range(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError) as wrong:
        define("mixer", Mixer, settings=settings)

    assert expected == str(wrong.value)


def test_what_is_inside_is_taken() -> None:
    actor: Any = define("mixer", Mixer, settings={"volume": 1, "bands": 10, "gains": [0]}).make()

    assert MixerSettings(1.0, 10, [0.0]) == actor.settings
