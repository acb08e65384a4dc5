"""The embedded broker, with paho as the client: another implementation of MQTT, in threads of its own."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import structlog
import trio
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from support import paho_thread
from tars.actors.mqtt.embedded import embedded_broker
from tars.supervisor import Escalate

HOST = "127.0.0.1"
WAIT_S = 10
CONNECT_311 = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x3c\x00\x07session"
CONNACK_WRONG_VERSION = b"\x20\x02\x00\x01"
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
START_BROKER = """
import trio
from tars.actors.mqtt.embedded import embedded_broker

trio.run(lambda: embedded_broker("127.0.0.1", 0, task_status=trio.TASK_STATUS_IGNORED))
"""


@asynccontextmanager
async def running_broker() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(embedded_broker, HOST, 0)
        yield port
        nursery.cancel_scope.cancel()


@contextmanager
def paho_client(
    port: int, client_id: str, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
) -> Iterator[tuple[Client, queue.Queue[object]]]:
    """A client whose callbacks (connected, subscribed, message, closed) arrive in a queue. Blocking: call from a thread."""
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol)
    seen: queue.Queue[object] = queue.Queue()
    client.on_connect = lambda _c, _u, _f, code, _p: seen.put(code)
    client.on_subscribe = lambda _c, _u, _mid, codes, _p: seen.put(codes)
    client.on_message = lambda _c, _u, message: seen.put(message)
    client.on_disconnect = lambda *_: seen.put("closed")
    client.connect(HOST, port)
    client.loop_start()
    try:
        yield client, seen
    finally:
        paho_thread.end(client)


def open_files() -> int:
    """Open file descriptors of this process, sockets among them."""
    return len(list(Path("/dev/fd").iterdir()))


def message(seen: queue.Queue[object]) -> tuple[str, bytes, int]:
    got = seen.get(timeout=WAIT_S)
    assert isinstance(got, MQTTMessage)
    return got.topic, bytes(got.payload), got.qos


async def test_a_client_publishes_and_another_receives_at_qos_1() -> None:
    def conversation(port: int) -> tuple[str, bytes, int]:
        with paho_client(port, "listener") as (listener, heard), paho_client(port, "speaker") as (speaker, spoken):
            assert isinstance(heard.get(timeout=WAIT_S), ReasonCode)
            assert isinstance(spoken.get(timeout=WAIT_S), ReasonCode)
            listener.subscribe("stt/+", 1)
            heard.get(timeout=WAIT_S)
            speaker.publish("stt/final", b"hello", 1).wait_for_publish(WAIT_S)
            return message(heard)

    async with running_broker() as port:
        assert ("stt/final", b"hello", 1) == await trio.to_thread.run_sync(conversation, port)


async def test_a_retained_message_reaches_a_later_subscriber() -> None:
    def conversation(port: int) -> tuple[str, bytes, int]:
        with paho_client(port, "speaker") as (speaker, _):
            speaker.publish("system/health/x", b"{}", 1, retain=True).wait_for_publish(WAIT_S)
        with paho_client(port, "listener") as (listener, heard):
            heard.get(timeout=WAIT_S)
            listener.subscribe("system/health/#", 1)
            heard.get(timeout=WAIT_S)
            return message(heard)

    async with running_broker() as port:
        assert ("system/health/x", b"{}", 1) == await trio.to_thread.run_sync(conversation, port)


async def test_an_mqtt_5_client_is_not_served() -> None:
    def conversation(port: int) -> object:
        with paho_client(port, "five", MQTTProtocolVersion.MQTTv5) as (_, seen):
            return seen.get(timeout=WAIT_S)

    async with running_broker() as port:
        answer = await trio.to_thread.run_sync(conversation, port)

        assert answer == "closed" or (isinstance(answer, ReasonCode) and answer.is_failure)


async def test_an_mqtt_5_client_with_properties_is_told_so_at_once() -> None:
    properties = b"\x03\x21\x01\x00"  # Receive Maximum 256
    connect = b"\x10\x17\x00\x04MQTT\x05\x02\x00\x3c" + properties + b"\x00\x07session"

    async with running_broker() as port, await trio.open_tcp_stream(HOST, port) as stream:
        await stream.send_all(connect)
        with trio.fail_after(WAIT_S):
            assert CONNACK_WRONG_VERSION == await stream.receive_some()
            assert b"" == await stream.receive_some()


async def test_after_a_stop_its_clients_are_disconnected_and_no_task_and_no_socket_is_left() -> None:
    """One client has a session, one has said nothing, one has said nonsense. Counted: trio tasks and open files."""
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    files_before = open_files()
    async with running_broker() as port:
        session, silent, nonsense = [await trio.open_tcp_stream(HOST, port) for _ in range(3)]
        await session.send_all(CONNECT_311)

        assert CONNACK_ACCEPTED == await session.receive_some()

        await nonsense.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with trio.fail_after(WAIT_S):
        assert [b""] * 2 == [await stream.receive_some() for stream in (session, silent)]
    for stream in (session, silent, nonsense):
        await stream.aclose()

    assert tasks_before == trio.lowlevel.current_statistics().tasks_living
    assert files_before == open_files()


async def test_fifty_starts_and_stops_leave_nothing_behind() -> None:
    async with running_broker():
        pass  # what is opened once per process is open now
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    files_before = open_files()
    for _ in range(50):
        async with running_broker() as port:
            await (await trio.open_tcp_stream(HOST, port)).aclose()

    assert tasks_before == trio.lowlevel.current_statistics().tasks_living
    assert files_before == open_files()


async def test_the_port_is_free_again_after_a_stop() -> None:
    async with running_broker() as port:
        pass
    async with trio.open_nursery() as nursery:
        again = await nursery.start(embedded_broker, HOST, port)

        assert port == again

        nursery.cancel_scope.cancel()


async def test_a_port_in_use_escalates_and_says_which_port_and_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Escalate, match=f"port {port} is in use.*embedded = false") as caught:
            await embedded_broker(HOST, port, task_status=trio.TASK_STATUS_IGNORED)

    assert isinstance(caught.value.__cause__, OSError)


async def test_an_address_that_is_not_ours_escalates_and_names_the_setting() -> None:
    with pytest.raises(Escalate, match=r"cannot listen on 192\.0\.2\.1:1883.*\[mqtt\] url"):
        await embedded_broker("192.0.2.1", 1883, task_status=trio.TASK_STATUS_IGNORED)


async def test_the_start_is_logged_as_a_warning_that_says_what_it_is_not() -> None:
    with structlog.testing.capture_logs() as lines:
        async with running_broker() as port:
            pass
    line = next(line for line in lines if line["event"] == "embedded_broker_started")

    assert ("warning", port, "3.1.1") == (line["log_level"], line["port"], line["protocol"])
    for said in ("at most once", "$share", "trying out"):
        assert said in line["limits"]


def test_without_amqtt_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "amqtt.py").write_text("raise ModuleNotFoundError(\"No module named 'amqtt'\", name='amqtt')\n")
    ended = subprocess.run(
        [sys.executable, "-c", START_BROKER], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert 1 == ended.returncode
    assert "Escalate: the embedded broker needs the package 'amqtt': pip install 'tars[broker]'" in ended.stderr
