"""The transport contract, kept by the real transport against a real Mosquitto, in both of its modes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.contract_broker import MosquittoSide, mosquitto_side

pytest.register_assert_rewrite("support.transport_contract")

from support.transport_contract import TransportContract  # noqa: E402 - its asserts are to be rewritten first
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport  # noqa: E402


class TestAiomqttTransport(TransportContract):
    @pytest.fixture(params=[True, False], ids=["buffered", "plain"])
    def transport(self, request: pytest.FixtureRequest) -> AiomqttTransport:
        return AiomqttTransport(buffered=request.param)

    @pytest.fixture
    async def broker(self) -> AsyncIterator[MosquittoSide]:
        async with mosquitto_side() as side:
            yield side
