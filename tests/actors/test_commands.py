"""``tars pub`` and ``tars sub`` without a broker: what they show, and what they refuse before they connect."""

from __future__ import annotations

import datetime as dt
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.broker import free_port
from support.cli import call
from tars.actors.commands.place import find
from tars.actors.commands.sub import text, values
from tars.actors.mqtt.transport import Inbound, TlsSettings
from tars.actors.testing import event
from tars.supervisor.terminal import Terminal

NOON = dt.datetime(2026, 1, 2, 12, 0, 0, 5000, dt.UTC)
PLAIN = Terminal(io.StringIO())


def test_help_shows_every_command_and_offers_completion(capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "--help")

    assert 0 == said.code
    for word in ("run", "check", "logs", "pub", "sub", "new", "asyncapi", "dead-letters", "--install-completion"):
        assert f" {word} " in said.out


@pytest.mark.parametrize("command", ["run", "check", "logs", "pub", "sub", "new", "asyncapi"])
def test_the_help_of_each_command_shows_how_it_is_called(capsys: pytest.CaptureFixture[str], command: str) -> None:
    said = call(capsys, command, "--help")

    assert any(line.strip(" │").startswith(f"tars {command} ") for line in said.lines)


# -- refused before connecting --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pub", "http://x", "stt.final", "{}"), 'the broker\'s URL: the scheme "http" is not supported'),
        (("sub", "none.toml", "#"), "none.toml: no such file"),
        (("pub", "mqtt://x", "stt.finl", "{}"), "stt.finl"),
        (("pub", "mqtt://x", "system.keepalive", "{}"), "say where to with --topic"),
        (("pub", "mqtt://x", "stt.final", "{"), "DATA: "),
        (("pub", "mqtt://x", "stt.final", "[1]"), "DATA must be a JSON object, found [1]"),
        (("pub", "mqtt://x", "a.b", "{}", "--topic", "a/+"), "'+' is a wildcard"),
        (("pub", "mqtt://x", "a/b", "{}", "--raw", "--topic", "a"), "--topic has no meaning with it"),
        (("sub", "mqtt://x", "a/#/b"), "'#' must be the last level"),
    ],
)
def test_a_call_that_makes_no_sense_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    ended = call(capsys, *arguments)

    assert (2, "") == (ended.code, ended.out)
    assert ended.err.startswith(f"tars {arguments[0]}: ")
    assert said in ended.err
    assert 1 == len(ended.err.splitlines())


@pytest.mark.parametrize(
    ("event_type", "data", "warning"),
    [
        ("stt.final", '{"text": "hey"}', ""),
        ("stt.final", '{"text": 3}', "text"),
        ("stt.final", '{"txt": "hey"}', "txt"),
        ("of.our.own", '{"text": 3}', ""),
    ],
)
def test_what_does_not_fit_its_contract_is_warned_of_by_field_before_it_is_sent(
    capsys: pytest.CaptureFixture[str], event_type: str, data: str, warning: str
) -> None:
    ended = call(capsys, "pub", "mqtt://127.0.0.1:1", event_type, data, "--topic", "a")
    *warned, not_there = ended.err.splitlines()

    assert not_there.startswith("tars pub: mqtt://127.0.0.1:1")
    assert (warning != "") == any("does not fit its contract, and is published all the same" in line for line in warned)
    assert int(warning != "") == len(warned)
    assert all(warning in line.partition("same: ")[2] for line in warned)


@pytest.mark.parametrize("arguments", [("pub", "a.b", "{}", "--topic", "a"), ("sub", "a")])
def test_a_broker_that_is_not_there_is_one_line_without_credentials_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    command, *rest = arguments
    port = free_port()
    ended = call(capsys, command, f"mqtt://me:hunter2@127.0.0.1:{port}", *rest)

    assert (1, "") == (ended.code, ended.out)
    assert ended.err.startswith(f"tars {command}: mqtt://***@127.0.0.1:{port}: ")
    assert 1 == len(ended.err.splitlines())
    assert "hunter2" not in ended.err


# -- which broker ---------------------------------------------------------------------------------


def test_a_url_says_everything_and_the_session_ends_with_the_connection() -> None:
    place = find("sub", "mqtts://me:pw@host", "auto", {})
    settings = place.settings

    assert ("host", 8883, "me", "pw", TlsSettings(), "5", 0) == (
        *(settings.host, settings.port, settings.username, settings.password, settings.tls, settings.protocol),
        settings.session_expiry_s,
    )
    assert place.fall_back


def test_a_config_says_the_broker_and_the_environment_goes_before_it_but_the_client_is_another(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('service.name = "robot7"\nmqtt.url = "mqtt://host"\nmqtt.protocol = "3.1.1"\nactors.a.use = "no:such"\n')
    place, other = find("sub", str(path), "auto", {}), find("sub", str(path), "5", {"MQTT_URL": "mqtt://me:pw@other:7"})

    assert ("host", 1883, "3.1.1", None) == (place.settings.host, place.settings.port, place.settings.protocol, place.settings.will)
    assert ("other", 7, "5", "mqtt://***@other:7") == (other.settings.host, other.settings.port, other.settings.protocol, other.url)
    assert place.settings.client_id.startswith("tars-sub-")
    assert place.settings.client_id != other.settings.client_id


# -- what sub shows -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            Inbound("stt/final", event("stt.final", {"text": "hé\x1b[2J"}, message_id="7", source="stt")),
            r'stt/final  stt.final  from=stt id=7  {"text":"hé\u001b[2J"}',
        ),
        (Inbound("a", b"on\x07", retain=True), r"a  retained  on\x07"),
        (Inbound("a", b"\xff\xfe", duplicate=True), "a  again  2 bytes, no text"),
        (Inbound("a", b""), "a"),
    ],
)
def test_a_message_is_one_line_that_cannot_steer_the_terminal(message: Inbound, shown: str) -> None:
    assert f"12:00:00.005 {shown}" == text(message, NOON, PLAIN).rstrip()


@pytest.mark.parametrize(
    ("payload", "more"),
    [
        (event("x", {"a": 1}, message_id="7"), {"envelope": {"id": "7", "type": "x", "ts": 0.0, "source": "test", "data": {"a": 1}}}),
        (b'{"a": 1}', {"payload": '{"a": 1}'}),
        (b"\xff", {"payload_base64": "/w=="}),
    ],
)
def test_for_programs_it_is_an_object_with_everything(payload: bytes, more: dict[str, object]) -> None:
    message = Inbound("a/b", payload, 1, retain=True, packet_id=3, user_properties=(("k", "v"),))

    assert {
        "at": "2026-01-02T12:00:00.005+00:00",
        "topic": "a/b",
        "qos": 1,
        "retain": True,
        "duplicate": False,
        "user_properties": (("k", "v"),),
        **more,
    } == values(message, NOON)


# -- completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "offered"), [("tars p", "pub"), ("tars che", "check"), ("tars pub --cor", "--correlation-id")])
def test_the_shell_completes_commands_and_options_of_all_packages(typed: str, offered: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tars.supervisor.cli import main; main()"],
        env={**os.environ, "_TARS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert [offered] == done.stdout.split()
