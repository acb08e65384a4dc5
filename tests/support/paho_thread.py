"""Ending a paho client that has a thread of its own."""

from __future__ import annotations

import paho.mqtt.client as mqtt


def end(client: mqtt.Client) -> None:
    """Say goodbye, wait for the thread, and close the pair of sockets that paho woke it with.

    paho leaves that pair to its ``__del__``. A client whose callbacks are methods is part of a cycle, and in a cycle the
    collector may come to the sockets first: "unclosed socket", in whatever test runs by then.
    """
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()  # noqa: SLF001 - there is no public name for it; without it every test that has a peer fails here
