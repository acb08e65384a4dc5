"""A service's TOML file, read strictly: all mistakes in one report, before anything runs.

Knows no MQTT: the application asks for its tables by class. How it is used:

    config = Config.load(path, os.environ)
    config.override(Override("MQTT_KEEPALIVE", "mqtt.keepalive_s", integer))     before its table is asked for
    mqtt = config.table("mqtt", MqttSettings)
    config.finish()                        raises ConfigError with every mistake; after it every value is good

Law: nothing is guessed, nothing is ignored. A key or table nobody asked for is a mistake. The value of a
secret is in no message.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import attrs

from .environment import Override
from .errors import TarsError
from .problem import Key, KeyPath, Mismatch, Problem, Unstructurable, dotted, parts, sentence, suggestion
from .structure import structure

T = TypeVar("T")


class ConfigError(TarsError):
    """The configuration cannot be used. ``str()`` is the whole report, one line per mistake."""

    def __init__(self, path: Path, lines: tuple[str, ...]) -> None:
        super().__init__(path, lines)
        self.path = path
        self.lines = lines

    def __str__(self) -> str:
        if len(self.lines) == 1:
            return f"{self.path}: {self.lines[0]}"
        return "\n".join((f"{self.path}: {len(self.lines)} mistakes", *(f"  {line}" for line in self.lines)))


@attrs.frozen
class Source:
    """Where a value came from. `name` is the file's path or the variable's name, "" for a default."""

    kind: Literal["file", "environment", "default"]
    name: str = ""


@attrs.define
class Config:
    """One loaded file, and what was found wrong with it so far. Not shared between tasks."""

    path: Path
    raw: dict[str, Any]
    environ: Mapping[str, str] = attrs.field(repr=False)
    provenance: dict[str, Source] = attrs.field(factory=dict)
    """Dotted key path → where its value came from, for every table structured so far."""
    effective: dict[str, object] = attrs.field(factory=dict, repr=False)
    """The same keys → the value that counts, as structured; a secret is in it as it is."""
    hidden: set[str] = attrs.field(factory=set)
    """Those of the keys whose class keeps them out of its repr."""
    _problems: list[Problem] = attrs.field(factory=list)
    _claimed: set[KeyPath] = attrs.field(factory=set)
    _variables: dict[KeyPath, str] = attrs.field(factory=dict)
    _misread: dict[KeyPath, ValueError] = attrs.field(factory=dict)  # what is wrong with a variable's text

    @classmethod
    def load(cls, path: Path, environ: Mapping[str, str]) -> Config:
        """Read and parse. Raises `ConfigError` for a file that is missing, unreadable, not UTF-8 or not TOML."""
        try:
            return cls(path, tomllib.loads(path.read_bytes().decode("utf-8-sig")), environ)
        except FileNotFoundError:
            wrong = "no such file"
        except OSError as error:
            wrong = f"cannot be read: {error.strerror or error}"
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            wrong = f"not UTF-8 (at line {line})"
        except ValueError as error:  # TOMLDecodeError, and an integer of more digits than int() takes
            wrong = f"not TOML: {error}"
        except RecursionError:
            wrong = "not usable: nested too deeply"
        raise ConfigError(path, (wrong,))

    # -- asking ---------------------------------------------------------------------------------

    def table(self, key: Key, cls: type[T]) -> T:
        """The table at `key` as a `cls`; an absent table is an empty one.

        When it has mistakes they are noted, and what comes back raises `ConfigError` as soon as an attribute
        of it is touched; so use nothing before `finish`, or ask `clean` first.
        """
        at = parts(key)
        return self.structure(cls, self._at(at, {}), at)

    def tables(self, key: Key, cls: type[T]) -> dict[str, T]:
        """Every ``[key.NAME]`` as a `cls`, by name, in the order of the file."""
        at = parts(key)
        self._claimed.add(at)
        raw = self._at(at, {})
        if not isinstance(raw, dict):
            self.problem(at, sentence(Mismatch("a table", raw), at))
            return {}
        return {name: self.structure(cls, inner, (*at, name)) for name, inner in raw.items()}

    def structure(self, cls: type[T], raw: object, key: Key) -> T:
        """Like `table`, for a part that was left raw before, e.g. ``[actors.NAME.settings]``."""
        at = parts(key)
        self._claimed.add(at)
        try:
            value = structure(cls, raw, at)
        except Unstructurable as error:
            self._problems += [problem for problem in error.problems if problem not in self._problems]
            return cast("T", _Unusable(self))
        self._trace(cls, raw, at, value)
        return value

    def value(self, key: Key, kind: type[T], *, default: T) -> T:
        """One key by itself, claiming nothing else of its table. A mistake is noted, and gives `default`."""
        at = parts(key)
        self._claimed.add(at)
        missing = object()
        raw = self._at(at, missing)
        self.provenance[dotted(at)] = self._source(at, present=raw is not missing)
        value = default
        try:
            value = default if raw is missing else structure(kind, raw, at)
        except Unstructurable as error:
            self._problems += [problem for problem in error.problems if problem not in self._problems]
        self.effective[dotted(at)] = value
        return value

    def comes_to(self, key: Key, value: object) -> None:
        """Say what a value of the file comes to, e.g. ``protocol = "auto"``. For `effective` only."""
        self.effective[dotted(parts(key))] = value

    def has(self, key: Key) -> bool:
        """Does the file, or an override made so far, set this key or table?"""
        missing = object()
        return self._at(parts(key), missing) is not missing

    def override(self, *overrides: Override) -> None:
        """Apply environment variables. Call it before the tables they touch are asked for."""
        for each in overrides:
            at = parts(each.key)
            found = each.found_in(self.environ)
            if found is None or at in self._variables:
                continue
            self._variables[at] = each.name
            try:
                self._set(at, each.parse(found))
            except ValueError as error:
                self._misread[at] = error

    # -- judging --------------------------------------------------------------------------------

    def problem(self, key: Key, message: str) -> None:
        """Note a mistake the application found itself. `message` must hold no secret."""
        problem = Problem(parts(key), message)
        if problem not in self._problems:
            self._problems.append(problem)

    @property
    def clean(self) -> bool:
        """Is everything asked for so far without a mistake? Then its values may be looked at."""
        return not self._problems and not self._misread

    def finish(self) -> None:
        """The last word: raises `ConfigError` with every mistake, keys and tables nobody asked for included."""
        for problem in self._unclaimed(self.raw, ()):
            self.problem(problem.key, problem.message)
        if not self.clean:
            raise self.error()

    def error(self) -> ConfigError:
        """The report of everything noted so far."""
        return ConfigError(self.path, tuple(self._line(problem) for problem in (*self._misread_problems(), *self._problems)))

    # -- inside ---------------------------------------------------------------------------------

    def _misread_problems(self) -> Iterator[Problem]:
        for at, error in self._misread.items():
            # Whether its class hides it is known once the table has been read without a mistake; until then it may.
            hidden = dotted(at) in self.hidden or dotted(at) not in self.provenance
            said = sentence(error, (*at, self._variables[at]), hidden=hidden)
            yield Problem(at, said if isinstance(error, Mismatch) or not hidden else "is not acceptable")

    def _line(self, problem: Problem) -> str:
        if not problem.key:
            return problem.message
        origins = [f"from the environment variable {name}" for at, name in self._variables.items() if problem.key[: len(at)] == at][:1]
        # What a class checks between its fields is noted at its table; the sentence names the fields.
        origins += [
            f"{at[-1]} from the environment variable {name}"
            for at, name in self._variables.items()
            if problem.key == at[:-1] and re.search(rf"\b{re.escape(at[-1])}\b", problem.message)
        ]
        where = f"{dotted(problem.key)} ({', '.join(origins)})" if origins else dotted(problem.key)
        return f"{where}: {problem.message}"

    def _at(self, at: KeyPath, default: object) -> Any:
        node: Any = self.raw
        for part in at:
            if not isinstance(node, dict) or part not in node:
                return default
            node = node[part]
        return node

    def _set(self, at: KeyPath, value: object) -> None:
        node = self.raw
        for part in at[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                return  # not a table: reported when the table is asked for
        node[at[-1]] = value

    def _unclaimed(self, node: dict[str, Any], at: KeyPath) -> Iterator[Problem]:
        known = {claimed[len(at)] for claimed in self._claimed if claimed[: len(at)] == at and len(claimed) > len(at)}
        for name, inner in node.items():
            here = (*at, name)
            if here in self._claimed:
                continue
            if name in known and isinstance(inner, dict):
                yield from self._unclaimed(inner, here)
            else:
                kind = "table" if isinstance(inner, dict) else "key"
                yield Problem(here, f"unknown {kind}{suggestion(name, known)}")

    def _source(self, at: KeyPath, *, present: bool) -> Source:
        if at in self._variables:
            return Source("environment", self._variables[at])
        return Source("file", str(self.path)) if present else Source("default")

    def _trace(self, cls: Any, raw: object, at: KeyPath, value: object) -> None:
        if not attrs.has(cls) or not isinstance(raw, dict):
            self.provenance[dotted(at)] = self._source(at, present=True)
            self.effective[dotted(at)] = value
            return
        for field in attrs.fields(cls):
            here, inner = (*at, field.name), getattr(value, field.name)
            if isinstance(raw.get(field.name), dict):  # of a dict's keys only those the environment set
                self.provenance |= {dotted(at): Source("environment", name) for at, name in self._variables.items() if at[:-1] == here}
            nested = next((kind for kind in (field.type, *get_args(field.type)) if isinstance(kind, type) and attrs.has(kind)), None)
            if nested is not None and (field.name in raw or attrs.has(type(inner))):
                self._trace(nested, raw.get(field.name, {}), here, inner)
            else:
                self.provenance[dotted(here)] = self._source(here, present=field.name in raw)
                self.effective[dotted(here)] = inner
                if not field.repr:
                    self.hidden.add(dotted(here))


class _Unusable:
    """Stands where a value with mistakes would be. Touching it raises the report instead of misleading anyone."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        raise self._config.error()
