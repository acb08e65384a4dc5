"""What holds for every property test.

No example fails for taking long, and no test because its examples do: beside other work anything may. Where `CI` is set, as `.ci/run`
sets it, the same examples are drawn every time, so that a landing cannot fail for something it did not touch; in everybody else's
runs hypothesis looks further.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
