"""SIGTERM and SIGINT, heard even when the event loop hangs: the first asks to stop, the second ends the process.

trio cannot kill a task, and a handler may block the loop or sit in a C call that no Python code interrupts. So
signals are read by a plain thread, from the file descriptor the C-level handler writes to; that thread owns
the stop deadline too. Law: after the first signal the process ends, within `deadline_s`, whatever it does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, TypeAlias

import trio

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LAST_WORDS_S: Final = 1.0
"""How long printing may take: standard error may be the very thing that blocks."""

Report: TypeAlias = Callable[[], Iterable[str]]


class SignalWatch:
    """One per process, in its main thread. `report` is called from another thread when the deadline passes."""

    def __init__(self, deadline_s: float, report: Report) -> None:
        self.deadline_s = deadline_s
        self._running_out = False
        self.asked = trio.Event()
        self.received: signal.Signals | None = None
        self._report = report
        self._last_words = _LastWords()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # noqa: FBT003 - the standard library's signature

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; call it inside `trio.run`. They are given back only if none has come by then."""
        token = trio.lowlevel.current_trio_token()
        self._last_words.get_ready()
        threading.Thread(target=self._listen, args=(token,), name="signals", daemon=True).start()
        # trio's own descriptor is replaced, so every byte is passed on as a wake-up of its loop
        trios = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _leave_it_to_the_thread) for number in SIGNALS}
        try:
            yield
        finally:
            signal.set_wakeup_fd(trios)
            if self.received is None:
                for number, handler in before.items():
                    signal.signal(number, handler)
                self._writer.close()

    def keep(self) -> None:
        """After `trio.run`: go on listening, if a signal has come. What is left of the process may hang as well."""
        if self.received is not None:
            signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def _listen(self, token: trio.lowlevel.TrioToken) -> None:
        while number := self._reader.recv(1):
            with contextlib.suppress(ValueError):  # a signal Python has no name for
                self._heard(signal.Signals(number[0]), token)
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(_nothing, idempotent=True)
        self._reader.close()

    def _heard(self, number: signal.Signals, token: trio.lowlevel.TrioToken) -> None:
        if number not in SIGNALS:
            return
        if self.received is not None:
            self._last_words.end(128 + number, lambda: [f"tars: second signal ({number.name}), exiting at once"])
        self.received = number
        self.begin_deadline()
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(self.asked.set)
        # the last net: a C thread that needs no interpreter, for a call that never gives it back
        with contextlib.suppress(RuntimeError, ValueError, AttributeError):  # there may be no standard error
            faulthandler.dump_traceback_later(self.deadline_s + 2 * _LAST_WORDS_S, exit=True)

    def begin_deadline(self) -> None:
        """The process ends within `deadline_s` from now. Also for an end nobody asked for: a hung child must not outlive it."""
        if not self._running_out:
            self._running_out = True
            deadline = threading.Timer(self.deadline_s, self._expired)
            deadline.daemon = True
            deadline.start()

    def _expired(self) -> None:
        name = self.received.name if self.received else "giving up"
        first = f"tars: not stopped {self.deadline_s:g} s after {name}, exiting; still there:"
        self._last_words.end(1, lambda: _chain(first, self._report()))


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


class _LastWords:
    """Says something on standard error, as long as that takes no more than a second, and ends the process.

    The thread that prints is there from the beginning: Python 3.12 makes no new one while it waits for the last to end.
    """

    def __init__(self) -> None:
        self._lines: Callable[[], Iterable[str]] = tuple
        self._asked = threading.Event()
        self._said = threading.Event()

    def get_ready(self) -> None:
        threading.Thread(target=self._speak, name="last-words", daemon=True).start()

    def end(self, code: int, lines: Callable[[], Iterable[str]]) -> NoReturn:
        self._lines = lines
        self._asked.set()
        self._said.wait(_LAST_WORDS_S)
        os._exit(code)

    def _speak(self) -> None:
        self._asked.wait()
        try:
            for line in self._lines():
                print(line, file=sys.stderr, flush=True)  # noqa: T201 - last words, past every log
        finally:
            self._said.set()


def _leave_it_to_the_thread(_number: int, _frame: object) -> None:
    """A handler must exist for the C level to write to the descriptor; this is it."""


def _nothing() -> None:
    """Waking the loop is all that is wanted: it runs the handlers of other signals then."""
