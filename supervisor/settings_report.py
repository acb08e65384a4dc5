"""Every setting that counts, and where it came from, as ``tars check`` shows it. Law: the value of a secret is in none of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import orjson

from .config import Config, Source
from .problem import dotted
from .redact import HIDDEN, redact
from .render import plain

_TEXT_CHARS: Final = 60


@attrs.frozen
class Setting:
    """One of them. `key`: its dotted path; `value`: as JSON can say it, secrets masked, None when it is not set."""

    key: str
    value: object
    source: Source

    @property
    def text(self) -> str:
        """The value for a table: short."""
        if self.value is None:
            return "(not set)"
        said = orjson.dumps(self.value).decode()
        return said if len(said) <= _TEXT_CHARS else f"{said[: _TEXT_CHARS - 1]}…"

    @property
    def origin(self) -> str:
        """``file``, ``environment NAME`` or ``default``."""
        return f"environment {self.source.name}" if self.source.kind == "environment" else self.source.kind


def settings(config: Config) -> tuple[Setting, ...]:
    """What was asked for of `config`, table by table. Look at it after ``config.finish()`` only."""
    found = list(_settings(config))
    tables = list(dict.fromkeys(_table(each.key) for each in found))
    return tuple(sorted(found, key=lambda each: tables.index(_table(each.key))))


def _settings(config: Config) -> Iterator[Setting]:
    structured = {parent for key in config.effective for parent in _parents(key)}
    for key, value in config.effective.items():
        source = config.provenance[key]
        if isinstance(value, Mapping):
            # A table left raw is told by what it was structured to later, or else by its own keys.
            if key not in structured:
                for name, inner in value.items():
                    at = f"{key}.{dotted((name,))}"
                    yield Setting(at, _masked(name, inner, hidden=False), config.provenance.get(at, source))
        else:
            yield Setting(key, _masked(key.rpartition(".")[2], value, hidden=key in config.hidden), source)


def _masked(name: str, value: object, *, hidden: bool) -> object:
    if value is None or value == "":
        return value
    if isinstance(value, Path):
        return str(value)
    if hidden:  # a URL holds credentials, and more that may be seen
        return redact(value) if isinstance(value, str) and "://" in value else HIDDEN
    said = plain(name, value)
    return said if not isinstance(said, int) or abs(said) < 2**63 else str(said)


def _parents(key: str) -> Iterator[str]:
    at = key.find(".")
    while at >= 0:
        yield key[:at]
        at = key.find(".", at + 1)


def _table(key: str) -> str:
    return key.partition(".")[0]
