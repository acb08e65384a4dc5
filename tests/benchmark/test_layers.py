from __future__ import annotations

import pytest

from bench.layers import GMQTT, OTHER, OURS, as_text, layer_of, layers

LOOP = "main (supervisor/cli.py);run (trio/_core/_run.py);"


def test_time_belongs_to_the_innermost_frame_that_has_a_name() -> None:
    stack = ["run (trio/_core/_run.py)", "_Life._handle_one (actors/mqtt/handler.py)", "decode_json (actors/contracts/codec.py)", "loads"]

    assert "decode: JSON" == layer_of(stack)
    assert "handler: the actor's loop" == layer_of(stack[:2])
    assert OTHER == layer_of(["<module>"])


def test_parts_are_of_the_loop_s_thread_alone_the_largest_first() -> None:
    folded = [
        f"{LOOP}_dispatch (actors/mqtt/dispatcher.py) 3",
        f"{LOOP}Properties.__init__ (paho/mqtt/properties.py) 5",
        f"{LOOP}matches (actors/mqtt/topics.py) 2",
        "Thread.run (threading.py);Condition.wait (threading.py) 90",
    ]

    assert [("dispatch", 0.5), ("paho", 0.5)] == layers(folded)


def test_the_table_tells_what_a_message_costs() -> None:
    assert "| dispatch | 50.0% | 20.0 |" in as_text([("dispatch", 0.5)], 25_000).splitlines()


@pytest.mark.parametrize(
    ("frame", "layer"),
    [
        ("AiomqttLink._write (actors/mqtt/aiomqtt_link.py)", "packets out: built and written"),
        ("Sieve.sift (actors/mqtt/aiomqtt_sieve.py)", "packets in: cut out of the stream"),
        ("ShortTraffic._sift (actors/mqtt/aiomqtt_traffic.py)", "packets in: cut out of the stream"),
        ("encode_publish (actors/mqtt/aiomqtt_packets.py)", "packets out: built and written"),
        ("Context._put (actors/mqtt/context.py)", "answer: ctx.publish"),
        ("Context.__init__ (actors/mqtt/context.py)", "handler: the actor's loop"),
        ("Handling._handle (actors/mqtt/handling.py)", "handler: the actor's loop"),
        ("BufferedSocket.send (actors/mqtt/aiomqtt_socket.py)", "packets out: built and written"),
        ("BufferedSocket.recv (actors/mqtt/aiomqtt_socket.py)", "socket: read"),
        ("CancelScope.__enter__ (trio/_core/_run.py)", "trio: cancel scopes"),
        ("ParkingLot.unpark (trio/_core/_parking_lot.py)", "trio: wake-ups"),
        ("Client._packet_read (paho/mqtt/client.py)", "paho"),
        ("structure_Reading (<cattrs generated structure bench.contract.Reading>)", "decode: envelope and contract"),
        ("Mailbox._accept (supervisor/mailbox.py)", "hand-over: mailboxes"),
    ],
)
def test_frames_as_the_sampler_writes_them_have_their_layer(frame: str, layer: str) -> None:
    assert layer == layer_of([frame])
    assert layer in dict(OURS)


@pytest.mark.parametrize(
    ("frame", "layer"),
    [
        ("_SelectorSocketTransport.write (asyncio/selector_events.py)", "PUBACK, or answer, built and written"),
        ("_SelectorSocketTransport._read_ready__data_received (asyncio/selector_events.py)", "socket: read"),
        ("_ensure_future (asyncio/tasks.py)", "a task for each message"),
        ("MqttPackageHandler._parse_properties (gmqtt/mqtt/handler.py)", "packets cut out of the stream, properties"),
        ("structure_Reading (<cattrs generated structure bench.contract.Reading>)", "decode: JSON, envelope and contract"),
        ("Window.repeats (bench/consumers/work.py)", "dedup"),
        ("EpollSelector.select (selectors.py)", "asyncio: loop"),
    ],
)
def test_the_peer_that_is_ahead_has_layers_too(frame: str, layer: str) -> None:
    assert layer == layer_of([frame], GMQTT)
    assert [(layer, 1.0)] == layers([f"BaseEventLoop.run_forever (asyncio/base_events.py);{frame} 3"], GMQTT)
