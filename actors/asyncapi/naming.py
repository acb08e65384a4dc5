"""Names for what has none: the keys of a document's maps, each the same as long as what it names is the same."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Final

import attrs

_NOT_IN_A_KEY: Final = re.compile(r"[^A-Za-z0-9_-]+")


@attrs.define
class Names:
    """Key by what it names. Asked in the same order, it gives the same keys."""

    _taken: dict[str, Hashable] = attrs.field(factory=dict, init=False)

    def of(self, what: Hashable, wish: str) -> str:
        """The key of `what`: `wish` in the letters a key may have, with a number behind it if that is another's."""
        plain = _NOT_IN_A_KEY.sub(".", wish).strip(".") or "_"
        number = 1
        while True:
            key = plain if number == 1 else f"{plain}-{number}"
            if self._taken.setdefault(key, what) == what:
                return key
            number += 1
