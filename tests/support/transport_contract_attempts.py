"""Attempts that fail, blocks that are left, and what is left behind: nothing.

Law: nothing here knows an implementation.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from support.transport_contract_base import (
    CYCLES,
    SOON_S,
    ContractBroker,
    ContractFixtures,
    connect_and_leave,
    live_asyncio_tasks,
    open_files,
    receive_all,
)
from tars.actors.mqtt.transport import ConnectSettings, LinkLost, LinkRefused, Transport, Will


class AttemptsContract(ContractFixtures):
    """See the module."""

    # -- attempts that fail -----------------------------------------------------------------------

    async def test_bad_credentials_are_a_refusal_that_does_not_tell_them(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        bad = broker.wrong_password(settings)
        with pytest.raises(LinkRefused) as caught, trio.fail_after(SOON_S):
            async with transport.connect(bad):
                pass

        assert caught.value.code in {0x86, 0x87}
        assert caught.value.hint
        assert bad.password is not None
        assert bad.password not in f"{caught.value!s} {caught.value!r} {caught.value.hint}"

    async def test_a_will_above_the_broker_s_qos_is_refused_and_the_hint_says_what_the_broker_lacks(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings, protocol: str
    ) -> None:
        with pytest.raises((LinkRefused, LinkLost)) as caught, trio.fail_after(SOON_S):
            await connect_and_leave(transport, attrs.evolve(broker.weak(settings), will=Will("a", b"gone", qos=1)))

        error = caught.value
        assert (protocol == "5") == (isinstance(error, LinkRefused) and error.code == 0x9B and "takes no QoS 1" in error.hint)

    async def test_where_nobody_listens_the_link_is_lost_at_once(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        with pytest.raises(LinkLost), trio.fail_after(SOON_S):
            async with transport.connect(attrs.evolve(broker.nobody(settings), connect_timeout_s=SOON_S * 10)):
                pass

    async def test_a_broker_that_never_answers_is_given_connect_timeout_s(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        with pytest.raises(LinkLost), trio.fail_after(SOON_S):
            async with transport.connect(attrs.evolve(broker.silent(settings), connect_timeout_s=0.05)):
                pass

    async def test_a_connect_can_be_cancelled(self, transport: Transport, broker: ContractBroker, settings: ConnectSettings) -> None:
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect_and_leave, transport, attrs.evolve(broker.silent(settings), connect_timeout_s=SOON_S * 10))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    @pytest.mark.parametrize(
        "change",
        [{"protocol": "4"}, {"client_id": ""}, {"receive_maximum": 0}, {"receive_maximum": 65_536}, {"keepalive_s": 65_536}, {"port": 0}],
        ids=str,
    )
    async def test_settings_that_mean_nothing_are_refused(
        self, transport: Transport, settings: ConnectSettings, change: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=next(iter(change))):
            async with transport.connect(attrs.evolve(settings, **change)):
                pass

    # -- leaving the block ------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "error",
        [KeyError("mine"), LinkLost("mine"), ExceptionGroup("mine", [KeyError("a"), LinkLost("b")]), KeyboardInterrupt()],
        ids=lambda error: type(error).__name__,
    )
    async def test_an_error_inside_the_block_leaves_it_as_it_is(
        self, transport: Transport, settings: ConnectSettings, error: BaseException
    ) -> None:
        with pytest.raises(type(error)) as caught:
            async with transport.connect(settings):
                raise error

        assert error is caught.value

    async def test_a_block_that_is_cancelled_ends_at_once_and_is_cancelled(self, transport: Transport, settings: ConnectSettings) -> None:
        with trio.fail_after(SOON_S), trio.CancelScope() as scope:
            async with transport.connect(settings) as link:
                scope.cancel()
                await link.receive()

        assert scope.cancelled_caught

    async def test_two_links_at_once_do_not_know_each_other(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        async with transport.connect(settings) as one:
            await one.subscribe([("a", 1)])
            async with transport.connect(attrs.evolve(settings, client_id="robot8")) as two:
                await two.subscribe([("b", 1)])
                await broker.publish("b", b"for two")
                (for_two,) = await receive_all(two, 1)
            await broker.publish("a", b"for one")
            (for_one,) = await receive_all(one, 1)

        assert (b"for one", b"for two") == (for_one.payload, for_two.payload)

    async def test_no_file_thread_or_task_is_left_after_many_attempts(
        self, transport: Transport, broker: ContractBroker, settings: ConnectSettings
    ) -> None:
        silent = attrs.evolve(broker.silent(settings), connect_timeout_s=SOON_S * 10)
        await connect_and_leave(transport, settings)
        files_before = open_files()
        for _ in range(CYCLES):
            await connect_and_leave(transport, settings)
            for hopeless in (broker.nobody(settings), broker.wrong_password(settings)):
                with pytest.raises((LinkLost, LinkRefused)):
                    await connect_and_leave(transport, hopeless)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect_and_leave, transport, silent)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            with trio.CancelScope() as scope:
                async with transport.connect(settings):
                    scope.cancel()

        assert [] == live_asyncio_tasks()
        assert files_before == open_files()
        assert 0 == trio.to_thread.current_default_thread_limiter().borrowed_tokens
