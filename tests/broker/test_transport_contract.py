"""The transport contract, kept by the real transport against a real Mosquitto, in both of its modes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.contract_broker import MosquittoSide, mosquitto_side
from support.transport_contract import TransportContract
from tars.actors.mqtt.aiomqtt_transport import AiomqttTransport


class TestAiomqttTransport(TransportContract):
    @pytest.fixture(params=[True, False], ids=["buffered", "plain"])
    def transport(self, request: pytest.FixtureRequest) -> AiomqttTransport:
        return AiomqttTransport(buffered=request.param)

    @pytest.fixture
    async def broker(self) -> AsyncIterator[MosquittoSide]:
        async with mosquitto_side() as side:
            yield side
