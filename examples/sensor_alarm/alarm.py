"""The second service: says when a room is too hot, and when nothing is heard of it any more."""

from typing import Literal

import attrs
import trio
from messages import Alarm, Reading

from tars.actors import Actor, Context, Override, every, number, subscribe


@attrs.frozen
class AlarmSettings:
    """[actors.alarm.settings]. Hot from `hot_celsius` on, until it is `back_celsius` cooler again."""

    hot_celsius: float = 60.0
    back_celsius: float = attrs.field(default=5.0, validator=attrs.validators.ge(0))
    silent_after_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))


class Watch(Actor):
    """A new instance knows no room. It says again what it finds: the alarm is retained, so a repetition changes nothing."""

    settings: AlarmSettings
    environment = (Override("ALARM_HOT_CELSIUS", "settings.hot_celsius", number),)

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.heard_at: dict[str, float] = {}

    @subscribe("sensors/{room}/temp", qos=1)
    async def on_reading(self, reading: Reading, ctx: Context) -> None:
        room = ctx.params["room"]
        self.heard_at[room] = trio.current_time()
        limit = self.settings.hot_celsius
        if self.states.get(room) == "hot":
            limit -= self.settings.back_celsius
        await self.say(room, "hot" if reading.celsius >= limit else "ok", reading.celsius, ctx)

    @every(1.0)
    async def look_for_silence(self, ctx: Context) -> None:
        for room, heard_at in self.heard_at.items():
            if trio.current_time() - heard_at >= self.settings.silent_after_s:
                await self.say(room, "silent", None, ctx)

    async def say(self, room: str, state: Literal["ok", "hot", "silent"], celsius: float | None, ctx: Context) -> None:
        if self.states.get(room) != state:
            await ctx.publish("alarm.state", Alarm(state, celsius), topic=f"alarms/{room}", retain=True)
            self.states[room] = state
            ctx.log.info("alarm_changed", room=room, state=state, celsius=celsius)
