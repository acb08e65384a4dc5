"""docs/connector.md: its example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from support.broker import Mosquitto

TEXT = (Path(__file__).parents[2] / "docs" / "connector.md").read_text(encoding="utf-8")


async def test_the_example_publishes_and_hears_itself() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "connector.md", "exec"), names)  # noqa: S102 - that is the test
    async with Mosquitto() as broker:
        heard = await names["main"](f"mqtt://127.0.0.1:{broker.port}")

    assert [("control/speed", {"max": 3})] == heard
