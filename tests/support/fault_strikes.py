"""The faults: what strikes a stage, and what mends it again.

Law: `strike` returns when the fault has had its effect, where it has one at once; what it cannot do itself is undone by `mend`,
which returns when the service works again.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from support.fault_stage import ACTORS, Stage
from support.faulty import LOOP
from support.process import CLIENT, PATIENCE_S
from support.proxy import CONNACK, PUBACK, SUBACK

Step: TypeAlias = Callable[[Stage], Awaitable[None]]

TIMES: Final = 2
"""A connection is cut before a packet of one kind as often in a row."""
STEP_BYTES: Final = 64
STEPS: Final = 8
SLOW_S: Final = 0.02
_CONNECT: Final = 0x10
_SESSION_EXPIRY: Final = b"\x11\x00\x00\x0e\x10"


async def up_again(stage: Stage) -> None:
    """Nothing to mend; the link, or the process, comes back."""
    await stage.up()


# -- the process ----------------------------------------------------------------------------------------


async def kill(stage: Stage) -> None:
    """SIGKILL."""
    stage.service.signal(signal.SIGKILL)
    await stage.over()


async def terminate(stage: Stage) -> None:
    """SIGTERM, and its drain has begun."""
    stage.service.signal(signal.SIGTERM)
    await stage.service.event("stop_requested")


async def start_again(stage: Stage) -> None:
    """The process ends with 0; the next one."""
    assert await stage.over() == 0
    await stage.up()


# -- the broker -----------------------------------------------------------------------------------------


async def kill_broker(stage: Stage) -> None:
    """What it confirmed is in its file (when it writes is its own affair); then SIGKILL."""
    stage.pauses = True
    await stage.client.confirmed()
    stage.proxy.stall()
    await stage.broker.save()
    stage.broker.kill()
    stage.proxy.cut()
    stage.proxy.flow()
    await stage.link_fails()


async def terminate_broker(stage: Stage) -> None:
    """SIGTERM: it writes its file and says goodbye."""
    stage.broker.terminate()
    stage.proxy.flow()
    await stage.link_fails()


async def restart_broker(stage: Stage) -> None:
    await stage.broker.restart()
    stage.pauses = False
    await stage.up()


async def freeze_broker(stage: Stage) -> None:
    """SIGSTOP, for as long as the row says, and until the service gives the link up."""
    thaw_at = trio.current_time() + stage.lasts_s
    stage.broker.freeze()
    stage.proxy.flow()
    await stage.link_fails()
    await trio.sleep_until(thaw_at)


async def thaw_broker(stage: Stage) -> None:
    stage.broker.thaw()
    await stage.up()


# -- the network ----------------------------------------------------------------------------------------


async def half_open(stage: Stage) -> None:
    """Nothing gets through and nobody is told, until the service gives the link up."""
    stage.proxy.stall()
    await stage.link_fails()


async def cut_half_open(stage: Stage) -> None:
    stage.proxy.cut()
    stage.proxy.flow()
    await stage.up()


async def reset(stage: Stage) -> None:
    """RST."""
    stage.proxy.reset()
    await stage.link_fails()


async def slow(stage: Stage) -> None:
    """Each chunk takes its time, in both directions."""
    stage.proxy.delay_s = SLOW_S


async def quick_again(stage: Stage) -> None:
    with trio.fail_after(PATIENCE_S):
        await stage.service.event("link_up")
        await stage.client.answered()
    stage.proxy.delay_s = 0.0


async def take_over(stage: Stage) -> None:
    """Somebody connects under the service's client id, takes its session, and is gone."""
    name = CLIENT.encode()
    body = b"\x00\x04MQTT\x05\x00\x00\x3c" + bytes([len(_SESSION_EXPIRY)]) + _SESSION_EXPIRY + len(name).to_bytes(2, "big") + name
    async with await trio.open_tcp_stream("127.0.0.1", stage.broker.port) as thief:
        await thief.send_all(bytes([_CONNECT, len(body)]) + body)
        await thief.receive_some(1)
        await stage.link_fails()


def _cut_before(packet_type: int) -> Step:
    async def strike(stage: Stage) -> None:
        stage.proxy.cuts = 0
        stage.proxy.cut_before(packet_type, TIMES)
        if packet_type != PUBACK:
            stage.proxy.cut()

    return strike


cut_before_connack: Final = _cut_before(CONNACK)
cut_before_suback: Final = _cut_before(SUBACK)
cut_before_puback: Final = _cut_before(PUBACK)


async def cut_often_enough(stage: Stage) -> None:
    """It is cut as often as it should, and is up after that."""
    with trio.fail_after(PATIENCE_S):
        await stage.proxy.has_cut(TIMES)
    await _up_for_good(stage)


async def cut_in_steps(stage: Stage) -> None:
    """The next connections end after 64, 128, 192, ... bytes of the broker's."""
    stage.proxy.cuts = 0
    stage.proxy.cut_after(range(STEP_BYTES, STEP_BYTES * STEPS + 1, STEP_BYTES))
    stage.proxy.cut()


async def cut_at_every_step(stage: Stage) -> None:
    """What is sent in between makes each connection long enough to be cut."""
    with trio.fail_after(PATIENCE_S):
        while stage.proxy.cuts < STEPS:
            stage.send("probe")
            await stage.client.until(lambda: not stage.client.unanswered or stage.proxy.cuts == STEPS, "cut or answer")
    await _up_for_good(stage)


async def _up_for_good(stage: Stage) -> None:
    await stage.client.answered()
    await stage.service.until(stage.link_is_up, "link after the last cut")


# -- an actor ---------------------------------------------------------------------------------------------


def _crash(*names: str, path: str) -> Step:
    async def strike(stage: Stage) -> None:
        exits = {name: len(stage.service.events("child_exited", actor=path.format(name))) for name in names}
        for name in names:
            await stage.wires[name].holds(1)
            stage.wires[name].let_through()
        for name, count in exits.items():
            await stage.service.event("child_exited", actor=path.format(name), count=count + 1)

    return strike


crash_handlers: Final = _crash(*ACTORS, path="root/service/handlers/{}")
crash_dedup: Final = _crash("dedup", path="root/service/pipeline/{}")
crash_dispatcher: Final = _crash("dispatcher", path="root/service/pipeline/{}")
crash_store: Final = _crash("store", path="root/{}")


async def nothing(stage: Stage) -> None:
    """The supervisor mends it."""
    await stage.service.event("link_up")


async def block_loop(stage: Stage) -> None:
    """The event loop stands still for as long as the row says, and until the service's own watch has reported that."""
    gate, blocked = stage.wires[LOOP], len(stage.service.events("loop_blocked"))
    await gate.holds(1)
    arrived = gate.arrived
    gate.let_through()
    await gate.arrives(arrived + 1)
    free_at = trio.current_time() + stage.lasts_s
    await stage.service.event("loop_blocked", count=blocked + 1)
    await trio.sleep_until(free_at)
    gate.let_through()
