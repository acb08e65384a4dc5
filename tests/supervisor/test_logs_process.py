"""``tars logs`` as a process: standard input, following across a rotation, Ctrl-C, a reader that goes away, memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

PATIENCE_S = 20.0
MAIN = "from tars.supervisor.cli import main; main()"
LOGS = (sys.executable, "-c", MAIN, "logs")
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""These tests may run as a background job of a shell without job control, which has its children ignore SIGINT."""


def lines(*events: str) -> bytes:
    return b"".join(
        json.dumps({"ts": "2026-01-02T10:00:00Z", "event": event, "message_id": event[:1]}).encode() + b"\n" for event in events
    )


@pytest.mark.parametrize("asked", [(), ("--story", "a")])
async def test_a_dash_is_the_standard_input(asked: tuple[str, ...]) -> None:
    done = await trio.run_process([*LOGS, "-", "--json", *asked], stdin=lines("a1", "a2"), capture_stdout=True, capture_stderr=True)

    assert (lines("a1", "a2"), b"") == (done.stdout, done.stderr)


async def test_what_comes_is_followed_across_a_rotation_until_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(lines("first") + b'{"event":')
    command = [sys.executable, "-c", f"{HEARS_CTRL_C}; {MAIN}", "logs", str(path), "--follow", "--json"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with trio.fail_after(PATIENCE_S):
            await _said(process.stdout, b'"first"')
            with path.open("ab") as log:
                log.write(b'"second"}\n')
            await _said(process.stdout, b'"second"')
            path.rename(tmp_path / "a.log.1")
            path.write_bytes(lines("third"))
            await _said(process.stdout, b'"third"')
            path.write_bytes(b"")
            path.write_bytes(lines("4"))
            await _said(process.stdout, b'"4"')
            process.send_signal(signal.SIGINT)

            assert 130 == await process.wait()
            assert b"" == await process.stderr.receive_some()
    finally:
        process.kill()
        await process.stdout.aclose()
        await process.stderr.aclose()


async def _said(stream: trio.abc.ReceiveStream, wanted: bytes) -> None:
    heard = b""
    while wanted not in heard:
        chunk = await stream.receive_some()
        assert chunk, heard
        heard += chunk


async def test_a_reader_that_goes_away_ends_it_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(lines("x") * 20_000)
    process = await trio.lowlevel.open_process([*LOGS, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with trio.fail_after(PATIENCE_S):
        await process.stdout.receive_some(10)
        await process.stdout.aclose()

        assert b"" == await process.stderr.receive_some()
        assert 0 == await process.wait()
    await process.stderr.aclose()


async def test_a_long_log_is_read_without_being_held(tmp_path: Path) -> None:
    """128 MB in an address space that leaves no room for half of it."""
    path = tmp_path / "a.log"
    block = lines("x" * 2000) * 500
    with path.open("wb") as log:
        for _ in range(64):
            log.write(block)
    limited = "import resource, sys; from tars.supervisor.cli import main; import os; "
    limited += "used = int(open('/proc/self/statm').read().split()[0]) * os.sysconf('SC_PAGE_SIZE'); "
    limited += "resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, used + 60_000_000)); main(sys.argv[1:])"
    done = await trio.run_process(
        [sys.executable, "-c", limited, "logs", str(path), "--level", "error", "--crashes"], capture_stdout=True, capture_stderr=True
    )

    assert (b"nothing crashed\n", b"") == (done.stdout, done.stderr)
