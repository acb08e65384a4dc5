"""Mosquitto as the contract's `ContractBroker`: one broker, one peer, and a cable that can be cut.

Law: every refusal the contract asks for is Mosquitto's own (its dynamic security plugin), none is played.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from support.broker import Mosquitto, MosquittoMissing, free_port
from support.peer import Peer, Seen
from tars.actors.mqtt.transport import ConnectSettings

_PLUGIN = "mosquitto_dynamic_security.so"
_PLUGIN_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")
_PASSWORD = "right"


def plugin_path() -> Path:
    """Mosquitto's own access plugin; it comes with the broker."""
    for place in _PLUGIN_PLACES:
        # Debian has it in the directory of the architecture.
        for found in (*Path(place).glob(_PLUGIN), *Path(place).glob(f"*/{_PLUGIN}")):
            return found
    msg = f"Mosquitto is here without its {_PLUGIN}: install the whole package"
    raise MosquittoMissing(msg)


def security(refused: str, password: str = _PASSWORD) -> dict[str, object]:
    """A dynamic-security file: user "robot" may do everything but `refused`; who gives no name may do everything."""
    salt = b"only a test "
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    kinds = ("subscribePattern", "publishClientSend")
    return {
        "defaultACLAccess": dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), True),
        "clients": [
            {
                "username": "robot",
                "salt": base64.b64encode(salt).decode(),
                "password": base64.b64encode(digest).decode(),
                "iterations": 101,
                "roles": [{"rolename": "robot"}],
            }
        ],
        "roles": [{"rolename": "robot", "acls": [{"acltype": kind, "topic": refused, "priority": 1, "allow": False} for kind in kinds]}],
    }


@attrs.frozen
class MosquittoSide:
    """See `ContractBroker`."""

    broker: Mosquitto
    peer: Peer
    silence: socket.socket
    weak_port: int
    cable_port: int
    cables: set[trio.SocketStream]
    rivals: trio.Nursery
    refused: str = "refused/#"
    max_packet_bytes: int = 20_000

    def settings(self, client_id: str, protocol: str) -> ConnectSettings:
        return ConnectSettings("127.0.0.1", self.broker.port, client_id, protocol, "robot", _PASSWORD)

    def cable(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=self.cable_port)

    def wrong_password(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, password="open-sesame")

    def nobody(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=free_port())

    def silent(self, settings: ConnectSettings) -> ConnectSettings:
        # The kernel takes the connection; nobody ever accepts it.
        return attrs.evolve(settings, port=self.silence.getsockname()[1])

    def weak(self, settings: ConnectSettings) -> ConnectSettings:
        return attrs.evolve(settings, port=self.weak_port)

    async def publish(
        self,
        topic: str,
        payload: bytes = b"",
        qos: int = 1,
        *,
        retain: bool = False,
        user_properties: Sequence[tuple[str, str]] = (),
        expires_s: int | None = None,
        count: int = 1,
    ) -> None:
        await self.peer.publish(topic, payload, qos, retain=retain, user_properties=user_properties, expires_s=expires_s, count=count)

    async def subscribe(self, topic_filter: str) -> None:
        await self.peer.subscribe(topic_filter)

    async def received(self, count: int) -> list[Seen]:
        return await self.peer.received(count)

    async def take_over(self, client_id: str) -> None:
        await self.rivals.start(_hold, Peer(self.broker.port, client_id))

    def cut(self) -> None:
        for end in self.cables:
            end.socket.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        self.broker.freeze()

    def kill(self) -> None:
        self.broker.kill()


@asynccontextmanager
async def mosquitto_side() -> AsyncIterator[MosquittoSide]:
    """A broker for one test. For a fixture: errors of its own come out in an exception group."""
    side = Mosquitto()
    weak_port = free_port()
    secrets = side.directory / "dynamic-security.json"
    secrets.write_text(json.dumps(security("refused/#")))
    side.config = [
        "allow_anonymous true",
        f"plugin {plugin_path()}",
        f"plugin_opt_config_file {secrets}",
        "max_packet_size 20000",
        "max_queued_messages 0",
        f"listener {weak_port} 127.0.0.1",
        "max_qos 0",
    ]
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silence:
        async with side, Peer(side.port) as peer, trio.open_nursery() as nursery:
            cables: set[trio.SocketStream] = set()

            async def relay(near: trio.SocketStream) -> None:
                far = await trio.open_tcp_stream("127.0.0.1", side.port)
                async with near, far:
                    cables.update({near, far})
                    async with trio.open_nursery() as both:
                        both.start_soon(_pump, near, far, both.cancel_scope)
                        both.start_soon(_pump, far, near, both.cancel_scope)
                    cables.difference_update({near, far})

            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, relay, [listener])
            port: int = listener.socket.getsockname()[1]
            yield MosquittoSide(side, peer, silence, weak_port, port, cables, nursery)
            nursery.cancel_scope.cancel()


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass  # the other direction was cut first
    both.cancel()


async def _hold(peer: Peer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    async with peer:
        task_status.started()
        await trio.sleep_forever()
