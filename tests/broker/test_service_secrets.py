"""Secrets nowhere: what a service says, writes and publishes in good and bad times is searched for them, byte by byte.

Each run is a process of its own at level debug, with a log file and a state directory; each secret is in use in it.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest
import trio

from support.broker import Mosquitto, free_port
from support.certificates import Certificates
from support.contract_broker import plugin_path, security
from support.peer import Peer
from support.process import Child, config, started, toml

PASSWORD: Final = "Hush4711@:/ü#"
"""Nothing of it may be seen, encoded or not: hence what is searched for is its core."""
API_KEY: Final = "Hush4711-api"
PASSPHRASE: Final = "Hush4711-phrase"
CORE: Final = b"Hush4711"

LEAKY = """
import attrs
from tars.actors import Actor, Context, subscribe
from tars.supervisor import Escalate, Unavailable

@attrs.frozen
class LeakySettings:
    api_key: str
    database: str

class Leaky(Actor):
    settings: LeakySettings

    @subscribe("crash", qos=1)
    async def on_crash(self, event: bytes, ctx: Context) -> None:
        ctx.log.info("about_to_connect", database=self.settings.database, api_key=self.settings.api_key)
        try:
            raise ConnectionError(f"no answer from {self.settings.database}")
        except ConnectionError as error:
            raise RuntimeError(f"cannot work without {self.settings.database}") from error

    @subscribe("exit", qos=1)
    async def on_exit(self, event: bytes, ctx: Context) -> None:
        raise SystemExit(f"{self.settings.database} is away")

class Away(Actor):
    settings: LeakySettings

    @subscribe("away", qos=1)
    async def on_away(self, event: bytes, ctx: Context) -> None:
        raise Unavailable(f"{self.settings.database} is away")

class GivesUp(Actor):
    settings: LeakySettings

    @subscribe("escalate", qos=1)
    async def on_escalate(self, event: bytes, ctx: Context) -> None:
        raise Escalate(f"{self.settings.database} will never come back")
"""


def url(port: int, password: str = PASSWORD, scheme: str = "mqtt") -> str:
    return f"{scheme}://robot:{quote(password, safe='')}@127.0.0.1:{port}"


def table(broker_url: str | None, mqtt: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A config with a secret of the actor's; and the broker's, unless the environment has that."""
    made = config(1, {"log": {"file": "service.log"}, "dedup": {"durable": True}})
    made["mqtt"] = {"backoff": {"initial_s": 0.02, "max_s": 0.1}, **(mqtt or {})}
    if broker_url is not None:
        made["mqtt"]["url"] = broker_url
    settings = {"api_key": API_KEY, "database": f"postgres://me:{quote(PASSWORD, safe='')}@db.example/x"}
    made["actors"] = {name: {"use": f"leaky:{name}", "settings": settings, "max_attempts": 2} for name in ("Leaky", "Away", "GivesUp")}
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "leaky.py").write_text(LEAKY)
    return tmp_path


def written(folder: Path, made: Mapping[str, Any]) -> Path:
    file = folder / "service.toml"
    file.write_text(toml(made))
    return file


def told(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything a process has written in its folder but what we put there."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "leaky.py" and path.suffix not in {".toml", ".pyc", ".key"}:
            yield str(path.relative_to(folder)), path.read_bytes()


def leaks(folder: Path, **said: str) -> list[str]:
    everything = [*told(folder), *((name, text.encode()) for name, text in said.items())]
    assert any(CORE not in content for _, content in everything if content), "nothing was said at all"
    return [f"{name}: {content[max(0, content.index(CORE) - 200) :][:300]!r}" for name, content in everything if CORE in content]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def said_by(child: Child) -> dict[str, str]:
    return {"stdout": child.stdout, "stderr": child.stderr}


CALLS: Final = """
import json, sys
from tars.supervisor.cli import main
codes = []
for call in json.loads(sys.argv[1]):
    try:
        main(call)
    except SystemExit as ended:
        codes.append(ended.code or 0)
sys.exit(json.dumps(codes))
"""


async def tars(folder: Path, *calls: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[list[int], dict[str, str]]:
    """Commands in `folder`, one after the other in one process: their exit codes, and what they said."""
    command = [sys.executable, "-c", CALLS, orjson.dumps(calls).decode()]
    env = {**os.environ, **(environ or {})}
    done = await trio.run_process(command, cwd=folder, env=env, capture_stdout=True, capture_stderr=True, check=False)
    *errors, codes = done.stderr.decode().splitlines()
    return orjson.loads(codes), {"commands' stdout": done.stdout.decode(), "commands' stderr": "\n".join(errors)}


def locked_broker() -> Mosquitto:
    """A Mosquitto that lets in nobody but robot with the password."""
    broker = Mosquitto()
    file = broker.directory / "dynamic-security.json"
    file.write_bytes(orjson.dumps(security("refused/#", PASSWORD)))
    broker.config = ["allow_anonymous false", f"plugin {plugin_path()}", f"plugin_opt_config_file {file}"]
    return broker


# -- services -------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_environment", [False, True], ids=["file", "environment"])
async def test_a_service_that_fails_in_every_way_tells_no_secret(folder: Path, *, from_environment: bool) -> None:
    async with locked_broker() as broker:
        file = written(folder, table(None if from_environment else url(broker.port)))
        environ = {"MQTT_URL": url(broker.port)} if from_environment else {}
        async with started(folder, file, environ) as child:
            await child.event("link_up")
            async with Peer(broker.port, username="robot", password=PASSWORD) as peer:
                await peer.subscribe("#")
                for topic in ("away", "crash", "exit"):
                    await peer.publish(topic, b"{}")
                await child.event("handler_unavailable", topic="away")
                await child.event("dead_lettered", topic="crash")
                await child.event("dead_lettered", topic="exit")
                published = b"".join(seen.payload for seen in peer.seen).decode(errors="replace")
            await broker.restart()
            await child.event("link_up", count=2)
            broker.kill()
            await child.event("child_exited", actor="root/service/link/connection", kind="unavailable", count=2)
            child.signal(signal.SIGTERM)
            code = await child.exited()
    codes, letters = await tars(folder, ["dead-letters", "list", "--json", "var/robot7"], ["dead-letters", "show", "var/robot7", "1"])

    assert (0, [0, 0]) == (code, codes)
    assert "cannot work without postgres://***@db.example/x" in child.stdout
    assert ({"robot7": 0o700}, {0o600}) == (modes(folder / "var"), set(modes(folder / "var" / "robot7").values()))
    assert {"dead-letters.sqlite3", "lock"} < modes(folder / "var" / "robot7").keys()
    assert 0o600 == modes(folder)["service.log"]
    assert [] == leaks(folder, published=published, **said_by(child), **letters)


async def test_a_service_that_gives_up_tells_no_secret(folder: Path) -> None:
    async with locked_broker() as broker:
        async with started(folder, written(folder, table(url(broker.port)))) as child:
            await child.event("link_up")
            async with Peer(broker.port, username="robot", password=PASSWORD) as peer:
                await peer.publish("escalate", b"{}")
                code = await child.exited()

    assert 1 == code
    assert "postgres://***@db.example/x will never come back" in child.stderr
    assert [] == leaks(folder, **said_by(child))


async def test_a_service_that_is_refused_or_finds_nobody_tells_no_secret(folder: Path) -> None:
    async with locked_broker() as broker:
        async with started(folder, written(folder, table(url(broker.port, f"{PASSWORD}-wrong")))) as refused:
            code = await refused.exited()
    async with started(folder, written(folder, table(url(free_port())))) as alone:
        await alone.event("child_exited", actor="root/service/link/connection", kind="unavailable")
        alone.signal(signal.SIGTERM)
        await alone.exited()

    assert 1 == code
    assert "refused client id" in refused.stderr
    assert [] == leaks(folder, **said_by(refused))
    assert [] == leaks(folder, **said_by(alone))


async def test_a_service_with_a_locked_key_tells_neither_its_passphrase_nor_the_key(folder: Path) -> None:
    certificates = Certificates(folder)
    certificates.make()
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": Path(certificates.lock("client", PASSPHRASE)).name}
    file = written(folder, table(url(free_port(), scheme="mqtts"), {"tls": files}))
    async with started(folder, file, {"KEY_PASSPHRASE": PASSPHRASE}) as child:
        code = await child.exited()

    assert 1 == code
    assert "locked with a passphrase" in child.stderr
    assert "PRIVATE KEY" not in child.stdout + child.stderr
    assert [] == leaks(folder, **said_by(child))


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("from_environment", [False, True], ids=["file", "environment"])
async def test_no_command_tells_a_secret(folder: Path, *, from_environment: bool) -> None:
    nowhere = url(free_port())
    file = str(written(folder, table(None if from_environment else nowhere)))
    calls = [["check", file], ["check", "--json", file], ["asyncapi", file], ["pub", file, "x", "{}", "--topic", "a"], ["sub", file, "a"]]
    codes, said = await tars(folder, *calls, environ={"MQTT_URL": nowhere} if from_environment else {})

    assert [0, 0, 0, 1, 1] == codes, said
    assert [] == leaks(folder, **said)


async def test_no_report_on_a_wrong_config_tells_a_secret(folder: Path) -> None:
    encoded = quote(PASSWORD, safe="")
    mistakes: list[dict[str, Any]] = [
        {"mqtt": {"url": f"http://robot:{encoded}@h"}},
        {"mqtt": {"url": f"mqtt://robot:{PASSWORD}@h"}},
        {"mqtt": {"url": "mqtt://h", "password": PASSWORD}},
        {"mqtt": {"url": "mqtt://h", "client_id": f"mqtt://x:{encoded}@h/#"}},
        {"actors": {"x": {"use": f"mqtt://robot:{encoded}@h"}}},
        {"actors": {"x": {"use": "leaky:Leaky", "settings": {"api_key": [API_KEY], "database": 1}}}},
        {"actors": {"x": {"use": "leaky:Leaky", "settings": {"api_kay": API_KEY, "token": API_KEY}}}},
    ]
    calls = []
    for number, mistake in enumerate(mistakes):
        (folder / f"service{number}.toml").write_text(toml({**table("mqtt://h"), **mistake}))
        calls.append(["check", f"service{number}.toml"])
    codes, said = await tars(folder, *calls)

    assert [2] * len(mistakes) == codes
    assert all(f"service{number}.toml" in said["commands' stderr"] for number in range(len(mistakes)))
    assert [] == leaks(folder, **said)
