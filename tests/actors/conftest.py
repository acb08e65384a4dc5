"""Virtual time for tests of actors: a test that takes `_virtual` waits for nothing, and a hang ends at once."""

from __future__ import annotations

import pytest
import trio.testing


@pytest.fixture
def _virtual() -> trio.testing.MockClock:
    """The clock of the run. It jumps when every task is blocked, so also while a worker thread works."""
    return trio.testing.MockClock(autojump_threshold=0)
