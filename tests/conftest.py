"""What holds for every property test.

No example fails for taking long: beside other work anything may. Where `CI` is set, as `.ci/run` sets it, hypothesis draws the same
examples every time, so that a landing cannot fail for something it did not touch; in everybody else's runs it looks further.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", settings.default, deadline=None)
settings.load_profile("suite")
