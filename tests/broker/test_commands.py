"""``tars pub`` and ``tars sub`` on a real broker."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import trio
import trio_asyncio

from support.broker import Mosquitto, free_port
from support.cli import Said, call
from support.peer import Peer
from tars.actors.commands.place import find, speak, until_ctrl_c
from tars.actors.mqtt.embedded import embedded_broker
from tars.actors.mqtt.transport import Link

PATIENCE_S = 20.0
TARS = (sys.executable, "-c", "from tars.supervisor.cli import main; main()")


async def tars(capsys: pytest.CaptureFixture[str], *arguments: object) -> Said:
    with trio.fail_after(PATIENCE_S):
        return await trio.to_thread.run_sync(functools.partial(call, capsys, *arguments))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_pub_sends_an_envelope_to_the_topic_of_the_event_and_waits_for_the_broker(
    capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("#")
        said = await tars(
            capsys,
            *("pub", f"mqtt://127.0.0.1:{broker.port}", "stt.final", '{"text": "hi"}'),
            *("--correlation-id", "c1", "--protocol", protocol, "--source", "me"),
        )
        (seen,) = await peer.received(1)
        envelope = orjson.loads(seen.payload)

    assert (0, "stt/final  stt.final  id=c1  confirmed\n", "") == (said.code, said.out, said.err)
    assert ("stt/final", 1, False) == (seen.topic, seen.qos, seen.retain)
    assert ("c1", "stt.final", "me", {"text": "hi"}) == tuple(envelope[key] for key in ("id", "type", "source", "data"))
    assert (["message-id"] if protocol == "5" else []) == [name for name, _ in seen.user_properties]


async def test_pub_tells_a_program_what_it_published(capsys: pytest.CaptureFixture[str]) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("#")
        url = f"mqtt://127.0.0.1:{broker.port}"
        enveloped = await tars(capsys, "pub", url, "stt.final", '{"text": "hi"}', "--correlation-id", "c1", "--json")
        raw = await tars(capsys, "pub", url, "--raw", "lights/on", "1", "--qos", "0", "--json")
        ids = [dict(each.user_properties)["message-id"] for each in await peer.received(2)]

    said = {"topic": "stt/final", "qos": 1, "retain": False, "confirmed": True, "message_id": ids[0], "type": "stt.final", "id": "c1"}
    assert said == json.loads(enveloped.out)
    assert {"topic": "lights/on", "qos": 0, "retain": False, "confirmed": False, "message_id": ids[1]} == json.loads(raw.out)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("a.b", "{}", "--topic", "x/y"), ("x/y", 1, False)),
        (("stt.partial", "{}"), ("stt/partial", 0, False)),
        (("stt.partial", "{}", "--qos", "1"), ("stt/partial", 1, False)),
        (("--raw", "lights/on", "1"), ("lights/on", 1, False)),
        (("--raw", "lights/on", "1", "--qos", "0"), ("lights/on", 0, False)),
    ],
)
async def test_pub_takes_qos_and_retain_from_the_registry_unless_told(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: tuple[str, int, bool]
) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("#")
        said = await tars(capsys, "pub", f"mqtt://127.0.0.1:{broker.port}", *arguments)
        (seen,) = await peer.received(1)

    assert 0 == said.code
    assert expected == (seen.topic, seen.qos, seen.retain)
    assert (b"1" == seen.payload) == ("--raw" in arguments)


async def test_pub_reads_its_data_from_the_standard_input() -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.subscribe("#")
        url = f"mqtt://127.0.0.1:{broker.port}"
        await trio.run_process([*TARS, "pub", url, "a", "-", "--raw"], stdin=b"\x00\xff", capture_stdout=True)
        (seen,) = await peer.received(1)

    assert b"\x00\xff" == seen.payload


async def test_pub_tells_when_the_broker_refuses_the_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read a/#\n")
    async with Mosquitto(config=("allow_anonymous true", f"acl_file {acl}")) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        said = await tars(capsys, "pub", url, "--raw", "a", "1")

    assert 1 == said.code
    assert said.err.startswith(f"tars pub: {url}: the broker refused it with reason code 135 (0x87)")


@pytest.mark.parametrize("command", [("pub", "--raw", "a", "1"), ("sub", "a")])
async def test_a_broker_that_lets_nobody_in_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    async with Mosquitto(config=("allow_anonymous false",)) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        said = await tars(capsys, command[0], url, *command[1:])

    assert (1, "", 1) == (said.code, said.out, len(said.err.splitlines()))
    assert said.err.startswith(f"tars {command[0]}: {url}: ")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_sub_shows_what_comes_until_there_are_enough(capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        for number in range(3):
            await peer.publish(f"a/{number}", b"%d" % number, retain=True)
        arguments = ("sub", f"mqtt://127.0.0.1:{broker.port}", "a/+", "--count", "2", "--json", "--protocol", protocol)
        said = await tars(capsys, *arguments)
        messages: list[dict[str, Any]] = [json.loads(line) for line in said.lines]

    assert (0, "") == (said.code, said.err)
    assert [("a/0", "0", True), ("a/1", "1", True)] == [(each["topic"], each["payload"], each["retain"]) for each in messages]


async def test_sub_that_waits_in_vain_is_exit_code_1_if_messages_were_counted_on(capsys: pytest.CaptureFixture[str]) -> None:
    async with Mosquitto() as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        in_vain = await tars(capsys, "sub", url, "a", "--count", "1", "--timeout", "0.05")
        content = await tars(capsys, "sub", url, "a", "--timeout", "0.05")

    assert (1, "tars sub: only 0 of 1 messages came in 0.05 s\n") == (in_vain.code, in_vain.err)
    assert (0, "") == (content.code, content.err)


async def test_ctrl_c_ends_sub_without_a_traceback() -> None:
    async with Mosquitto() as broker, Peer(broker.port) as peer:
        await peer.publish("a", b"hello", retain=True)
        process = await trio.lowlevel.open_process(
            [*TARS, "sub", f"mqtt://127.0.0.1:{broker.port}", "#"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.fail_after(PATIENCE_S):
            shown = await process.stdout.receive_some()
            process.send_signal(signal.SIGINT)
            code = await process.wait()
            said = await process.stderr.receive_some()
        await process.stdout.aclose()
        await process.stderr.aclose()

    assert shown.endswith(b" a  retained  hello\n")
    assert (130, b"") == (code, said)


def test_ctrl_c_in_a_callback_of_asyncio_ends_a_command_in_order() -> None:
    """trio's own KeyboardInterrupt would be raised in the callback, and be taken for its failure."""
    passed = []

    def callback() -> None:
        signal.raise_signal(signal.SIGINT)
        passed.append("the callback")

    async def job() -> None:
        async with trio_asyncio.open_loop() as loop:
            loop.call_soon(callback)
            try:
                await trio.sleep_forever()
            finally:
                passed.append("the job")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trio.run(until_ctrl_c, job)

    assert ["the callback", "the job"] == passed
    assert before is signal.getsignal(signal.SIGINT)


async def test_a_broker_of_mqtt_3_1_1_only_is_found_out() -> None:
    """The embedded broker does not answer a CONNECT of MQTT 5, or hangs up; and it survives the client's leaving."""
    port = free_port()
    place = find("pub", f"mqtt://127.0.0.1:{port}", "auto", {})
    place = attrs.evolve(place, settings=attrs.evolve(place.settings, connect_timeout_s=0.3))

    async def job(link: Link) -> Sequence[int]:
        return await link.subscribe([("a", 1)])

    async with trio.open_nursery() as nursery:
        await nursery.start(embedded_broker, "127.0.0.1", port)
        for _ in range(3):
            assert [1] == list(await trio.to_thread.run_sync(speak, "pub", place, job))
        nursery.cancel_scope.cancel()
