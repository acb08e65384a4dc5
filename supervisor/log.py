"""The log, set up once at the edge: structlog to a stream and a rotating file, the standard library's loggers too.

Code logs with ``structlog.get_logger()``; nothing else of ours imports this. Law: a line never raises into its
caller, whatever is in it and whatever happens to the disk; no line holds a credential.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TextIO, TypeAlias

import attrs
import orjson
import structlog

from .incarnation import current
from .redact import redact
from .render import Level, error_values, event_logger, plain, render
from .streams import in_colours

__all__ = ["Log", "LogSettings", "configure", "event_logger", "render"]

Line: TypeAlias = dict[str, object]
"""``ts``, ``level``, ``event``, then values; nothing in it that JSON cannot say, or that is secret."""

FILE_BYTES: Final = 10 * 1024 * 1024
FILE_BACKUPS: Final = 5


@attrs.frozen
class LogSettings:
    """``[log]``. `format` "auto" is "console" on a terminal, else "json"; `file` always gets JSON lines."""

    level: Level = "info"
    format: Literal["auto", "console", "json"] = "auto"
    file: Path | None = None


class Sink(Protocol):
    """Somewhere lines go. `write` never raises."""

    def write(self, line: Line) -> None: ...

    def close(self) -> None: ...


@attrs.frozen
class Log:
    """The log as configured: the object structlog calls, and the handle that closes it."""

    sinks: Sequence[Sink]

    def write(self, line: Line) -> None:
        """Hand one line to every sink."""
        for sink in self.sinks:
            sink.write(line)

    debug = info = warning = error = critical = write

    def close(self) -> None:
        """Undo `configure`: structlog back to its defaults, the standard loggers released, the file closed."""
        for handler in [each for each in logging.getLogger().handlers if isinstance(each, _FromStandardLibrary)]:
            logging.getLogger().removeHandler(handler)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
        for sink in self.sinks:
            sink.close()


def configure(settings: LogSettings, stream: TextIO) -> Log:
    """Set up structlog and the standard library's root logger; call it once. Raises OSError when `file` cannot be opened."""
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    to_stream = _StreamSink(stream, _console_text(stream) if console else _json_text)
    sinks: list[Sink] = [to_stream]
    if settings.file is not None:
        sinks.append(_FileSink(settings.file, to_stream.write))
    log = Log(sinks)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[_who, structlog.contextvars.merge_contextvars, structlog.processors.StackInfoRenderer(), _finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: log,
        cache_logger_on_first_use=True,
    )
    _route_standard_library(log, max(level, logging.WARNING))
    return log


# -- one line ---------------------------------------------------------------------------------------


def _line(level: str, event: object, values: dict[str, Any]) -> Line:
    error = values.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        values = error_values(error, with_traceback=True) | values
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    line: Line = {"ts": f"{now}Z", "level": level, "event": redact(str(event))}
    return line | {f"{key}_" if key in line else key: plain(key, value) for key, value in values.items()}


def _who(_logger: Any, _method: str, values: Any) -> Any:
    """Every line inside an actor says which actor, and which of its lives; a line about another one says so itself."""
    life = current()
    if life is not None and "actor" not in values:
        return {"actor": life.path, "incarnation": life.number, **values}
    return values


def _finish(_logger: Any, method: str, values: Any) -> tuple[tuple[Line], dict[str, Any]]:
    return (_line(method, values.pop("event", ""), dict(values)),), {}


def _json_text(line: Line) -> str:
    try:
        return orjson.dumps(line).decode()
    except TypeError:  # what JSON allows and orjson does not: huge integers, lone surrogates
        return json.dumps(line, ensure_ascii=True, default=repr)


def _console_text(stream: TextIO) -> Callable[[Line], str]:
    colours = stream.isatty() and in_colours(os.environ)
    renderer = structlog.dev.ConsoleRenderer(
        colors=colours,
        timestamp_key="ts",
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )

    def text(line: Line) -> str:
        shown = {key: value if not isinstance(value, str) or value.isprintable() else repr(value) for key, value in line.items()}
        for key, place in (("traceback", "exception"), ("stack", "stack")):  # what stands below its line, as it is
            if shown.pop(key, None) is not None:
                shown[place] = "".join(
                    each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in str(line[key])
                ).rstrip()
        return str(renderer(None, str(line["level"]), shown))

    return text


# -- where lines go ---------------------------------------------------------------------------------


@attrs.frozen
class _StreamSink:
    stream: TextIO
    text: Callable[[Line], str]

    def write(self, line: Line) -> None:
        # OSError: full, or the reader has gone; ValueError: closed. There is nowhere left to say so.
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(self.text(line) + "\n")
            self.stream.flush()

    def close(self) -> None:
        """The stream is the caller's."""


class _FileSink(logging.handlers.RotatingFileHandler):
    """The standard library's rotation, fed with finished lines. A write that fails is reported once per series."""

    def __init__(self, path: Path, elsewhere: Callable[[Line], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=FILE_BACKUPS, encoding="utf-8")
        self._elsewhere = elsewhere
        self._failing = self._failed_now = False

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")  # noqa: PTH123 - a descriptor, kept

    def write(self, line: Line) -> None:
        self._failed_now = False
        self.handle(logging.makeLogRecord({"msg": _json_text(line)}))
        self._failing = self._failed_now

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written before cannot be written now
            super().close()

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        self._failed_now = True
        error = sys.exc_info()[1]
        if not self._failing and error is not None:
            said = error_values(error, with_traceback=False)
            self._elsewhere(_line("error", "log_file_failed", {"file": self.baseFilename, **said}))


# -- the standard library's loggers -------------------------------------------------------------------


class _FromStandardLibrary(logging.Handler):
    """Lines of libraries (aiomqtt, paho, amqtt, asyncio, warnings) through the same sinks."""

    def __init__(self, log: Log, level: int) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError, IndexError):  # arguments that do not fit the format
            said = str(record.msg)
        values = {**structlog.contextvars.get_contextvars(), "logger": record.name, "exc_info": record.exc_info}
        self._log.write(_line(_level_name(record.levelno), said, _who(self._log, "", values)))


def _level_name(number: int) -> Level:
    """The level a library's own number (35, say) is nearest to from above."""
    if number >= logging.CRITICAL:
        return "critical"
    if number >= logging.ERROR:
        return "error"
    return "warning"


def _route_standard_library(log: Log, level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(_FromStandardLibrary(log, level))
    logging.captureWarnings(capture=True)
