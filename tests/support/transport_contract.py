"""What every `Transport` must do, as tests: one suite for the real one and for the scripted one.

Inherit `TransportContract` in a test module and give it two fixtures: `transport`, the implementation, and `broker`,
a `ContractBroker`: the other end of its wire. Every test runs once per MQTT version, unless it says which.

Law: a sentence of the port that is not tested here is not promised.
"""

from __future__ import annotations

import pytest

# The parts hold the asserts; pytest rewrites them only where it is told to, before they are imported: everybody imports them from here.
PARTS = ("base", "receiving", "publishing", "ending", "attempts")
pytest.register_assert_rewrite(*(f"support.transport_contract_{part}" for part in PARTS))

from support.transport_contract_attempts import AttemptsContract  # noqa: E402
from support.transport_contract_base import ContractBroker, confirmed, receive_all  # noqa: E402
from support.transport_contract_ending import EndingContract  # noqa: E402
from support.transport_contract_publishing import PublishingContract  # noqa: E402
from support.transport_contract_receiving import ReceivingContract  # noqa: E402

__all__ = ["ContractBroker", "TransportContract", "confirmed", "receive_all"]


class TransportContract(ReceivingContract, PublishingContract, EndingContract, AttemptsContract):
    """See the module."""
