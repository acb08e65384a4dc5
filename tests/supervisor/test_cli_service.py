"""A service that cannot run, or not as it should, as its user meets it: the message, where it stands, and the exit code.

2: the config is wrong, and every mistake is told. 1: something outside says no, and waiting does not mend it. Whatever waiting
may mend (a broker that is not there, a disk that is full) ends nothing. Never a traceback.
"""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import attrs
import trio

from support.broker import Mosquitto, free_port
from support.peer import Peer
from support.process import Child, started

HEALTH: Final = "system/health/robot7"


def service(port: int = 1, *, use: str = "tars.actors.services.router:Router", embedded: bool = False, more: str = "") -> str:
    """A small config; nobody listens on port 1."""
    return f"""
application = "tars.actors.service:application"

[service]
name = "robot7"

[mqtt]
url = "mqtt://127.0.0.1:{port}"
backoff = {{ initial_s = 0.01, max_s = 0.1 }}

[broker]
embedded = {str(embedded).lower()}

[actors.router]
use = "{use}"
{more}"""


def written(folder: Path, text: str) -> Path:
    file = folder / "service.toml"
    file.write_text(text)
    return file


async def refused(folder: Path, file: Path, code: int, **environ: str) -> str:
    """What a service that does not run says on standard error; nothing more than that may be seen of it."""
    async with started(folder, file, environ) as child:
        assert code == await child.exited(), child.stderr
        assert "Traceback" not in child.stdout + child.stderr
        return child.stderr


# -- 2: the config ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Wrong:
    """A config that is, and the report; ``%`` stands for the file."""

    name: str
    text: str
    report: str


WRONG: Final = (
    Wrong("no TOML", "a = [", "%: not TOML: Invalid value (at end of document)\n"),
    Wrong(
        "a misspelt application",
        "applicaton = 'tars.actors.service:application'\n",
        '%: applicaton: unknown key; did you mean "application"?\n',
    ),
    Wrong("no application", "[service]\nname = 'x'\n", '%: application: is missing; expected "package.module:function"\n'),
    Wrong(
        "an unknown application",
        "application = 'tars.actors.service:aplication'\n",
        "%: application: \"tars.actors.service:aplication\" does not exist: module 'tars.actors.service' has no attribute 'aplication'\n",
    ),
    Wrong(
        "an application that fails to import",
        "application = 'fails:application'\n",
        '%: application: "fails:application" cannot be imported: RuntimeError: no robot here (FOLDER/fails.py, line 1)\n',
    ),
    Wrong(
        "an unknown actor",
        service(use="tars.actors.services.router:Rooter"),
        '%: actors.router.use: "tars.actors.services.router" has no "Rooter"; did you mean "Router"?\n',
    ),
    Wrong(
        "an actor in an unknown module",
        service(use="tars.actors.services.rooter:Router"),
        '%: actors.router.use: there is no module "tars.actors.services.rooter"; did you mean "router"? '
        f"(looked in the current folder and in {sys.prefix})\n",
    ),
    Wrong(
        "an actor that fails to import",
        service(use="odd:Robot"),
        '%: actors.router.use: "odd" cannot be imported: Odd: no such arm (FOLDER/odd.py, line 2)\n',
    ),
    Wrong(
        "an actor that exits at import",
        service(use="exits:Robot"),
        '%: actors.router.use: "exits" cannot be imported: SystemExit: 0 (FOLDER/exits.py, line 2)\n',
    ),
    Wrong(
        "several mistakes",
        service(more='mailbox = "64"\nmax_atempts = 3\n[actors.router.settings]\nwake_window = 5\n[mqt]\nurl = "x"\n'),
        "%: 4 mistakes\n"
        '  actors.router.mailbox: expected an integer, found "64" (a string)\n'
        '  actors.router.max_atempts: unknown key; did you mean "max_attempts"?\n'
        '  actors.router.settings.wake_window: unknown key; did you mean "wake_window_s"?\n'
        '  mqt: unknown table; did you mean "mqtt"?\n',
    ),
    Wrong("a log file that is a folder", service(more='[log]\nfile = "."\n'), "%: log.file: cannot be opened: FOLDER: Is a directory\n"),
)


async def test_a_wrong_config_is_exit_code_2_and_a_report(tmp_path: Path) -> None:
    reports: dict[str, str] = {}

    async def report(number: int, wrong: Wrong, cores: trio.CapacityLimiter) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "fails.py").write_text('raise RuntimeError("no robot here")\n')
        (folder / "odd.py").write_text('class Odd(Exception): ...\nraise Odd("no such arm")\n')
        (folder / "exits.py").write_text("import sys\nsys.exit(0)\n")
        file = written(folder, wrong.text)
        async with cores:
            said = await refused(folder, file, 2)
        reports[wrong.name] = said.replace(str(file), "%").replace(str(folder), "FOLDER")

    async with trio.open_nursery() as nursery:
        cores = trio.CapacityLimiter(2)
        for number, wrong in enumerate(WRONG):
            nursery.start_soon(report, number, wrong, cores)

    assert {wrong.name: wrong.report for wrong in WRONG} == reports


async def test_a_config_that_is_not_there_or_no_file_is_exit_code_2(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"

    assert f"{missing}: no such file\n" == await refused(tmp_path, missing, 2)
    assert f"{tmp_path}: cannot be read: Is a directory\n" == await refused(tmp_path, tmp_path, 2)


async def test_a_mistake_in_the_environment_names_the_variable_and_shows_no_password(tmp_path: Path) -> None:
    report = await refused(tmp_path, written(tmp_path, service()), 2, MQTT_URL="http://tars:hunter2@broker", ROUTER_WAKE_WINDOW_SEC="soon")

    assert "mqtt.url (from the environment variable MQTT_URL): " in report
    assert (
        "actors.router.settings.wake_window_s (from the environment variable ROUTER_WAKE_WINDOW_SEC): "
        'expected a number, found "soon" (a string)\n' in report
    )
    assert "hunter2" not in report


# -- 1: refused ---------------------------------------------------------------------------------------------------------


async def test_a_taken_port_is_exit_code_1_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refused(tmp_path, written(tmp_path, service(port, embedded=True)), 1)

    assert 1 == len(said.splitlines())
    assert f"the embedded broker cannot listen on 127.0.0.1:{port}: port {port} is in use" in said
    assert f"MQTT_URL=mqtt://127.0.0.1:{port}" in said


async def test_refused_credentials_are_exit_code_1_and_are_not_shown(tmp_path: Path) -> None:
    async with Mosquitto(config=["allow_anonymous false"]) as broker:
        url = f"mqtt://tars:hunter2@127.0.0.1:{broker.port}"
        async with started(tmp_path, written(tmp_path, service()), {"MQTT_URL": url}) as child:
            code = await child.exited()

    assert 1 == code
    assert 1 == len(child.stderr.splitlines())
    assert re.search(r"refused client id 'robot7': (not authorized|bad user name or password) \(0x8\d\); .*check the ", child.stderr)
    assert "hunter2" not in child.stdout + child.stderr


async def test_a_state_directory_in_use_is_exit_code_1_and_names_the_key(tmp_path: Path) -> None:
    state = tmp_path / "var" / "robot7"
    state.mkdir(parents=True)
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = await refused(tmp_path, written(tmp_path, service()), 1)

    assert 1 == len(said.splitlines())
    assert "the state directory var/robot7 is in use by another process: two services cannot share one" in said
    assert "[service] state_dir" in said


# -- 0: it runs on ------------------------------------------------------------------------------------------------------


async def stopped(child: Child) -> tuple[int, str]:
    """SIGTERM; the exit code and what stands on standard error."""
    child.signal(signal.SIGTERM)
    return await child.exited(), child.stderr


async def test_an_unreachable_broker_is_tried_for_ever_and_every_attempt_says_why(tmp_path: Path) -> None:
    port = free_port()
    async with started(tmp_path, written(tmp_path, service(port))) as child:
        await child.event("service_started")
        line = await child.event("child_exited", count=5, kind="unavailable")
        code, said = await stopped(child)

    assert f"cannot connect to 127.0.0.1:{port}: Connection refused" == line["error"]
    assert (0, "") == (code, said)


async def test_a_state_directory_that_cannot_be_used_degrades_the_health_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a folder should be")
    async with Mosquitto() as broker, started(tmp_path, written(tmp_path, service(broker.port))) as child, Peer(broker.port) as peer:
        await child.event("link_up")
        line = await child.event("child_exited", actor="root/store")
        await peer.subscribe(HEALTH)
        await peer.subscribe("tts/say")
        await peer.publish("wake/event", b'{"type": "wake"}')
        (say,) = await peer.heard("tts/say")
        health = json.loads((await peer.heard(HEALTH))[-1].payload)["data"]
        code, said = await stopped(child)

    assert "Hmm?" == json.loads(say.payload)["data"]["text"]
    assert (False, "degraded") == (health["ok"], health["event"])
    assert line["error"].startswith("the state directory cannot be used: ")
    assert "[service] state_dir" in line["error"]
    assert (0, "") == (code, said)


async def test_a_full_disk_stops_the_log_file_and_nothing_else(tmp_path: Path) -> None:
    file = written(tmp_path, service(free_port(), embedded=True, more='[log]\nfile = "/dev/full"\n'))
    async with started(tmp_path, file) as child:
        await child.event("link_up")
        line = await child.event("log_file_failed")
        code, said = await stopped(child)

    assert (0, "") == (code, said)
    assert ("/dev/full", "No space left on device") == (line["file"], line["error"].partition("] ")[2])
    assert 1 == len(child.events("log_file_failed"))


async def test_a_second_interrupt_ends_a_service_that_takes_its_time_to_stop(tmp_path: Path) -> None:
    async with Mosquitto() as broker, started(tmp_path, written(tmp_path, service(broker.port))) as child:
        await child.event("link_up")
        broker.freeze()  # its goodbye is never confirmed
        child.signal(signal.SIGINT)
        await child.event("stop_requested")
        child.signal(signal.SIGINT)
        code = await child.exited()
        broker.thaw()

    assert (130, "tars: second signal (SIGINT), exiting at once\n") == (code, child.stderr)
