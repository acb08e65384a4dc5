"""The real tree against the pure model, on any tree and any list of commands that Hypothesis can think of.

``MODEL_EXAMPLES=10000 python -m pytest tests/supervisor/test_model.py`` looks for longer, and elsewhere every time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, given, note, reject, settings

from support.model_draw import cases
from support.model_machine import Tie
from support.model_play import script
from support.model_real import check
from support.model_shapes import Case
from support.sim import sim

EXAMPLES = os.environ.get("MODEL_EXAMPLES")


@given(cases())
@settings(
    deadline=None,
    max_examples=int(EXAMPLES or 200),
    derandomize=EXAMPLES is None,
    database=None,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
def test_the_tree_does_what_the_model_says(case: Case) -> None:
    try:
        steps = script(case)
    except Tie:
        reject()
    note(repr(case))
    sim(case.seed, check, case, steps)
