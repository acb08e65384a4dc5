"""Waiting for work, or for the word to stop: what an actor that writes to disk does between two batches."""

from __future__ import annotations

from typing import Any

import trio

from tars.supervisor import Custody, ExitRequest, MailboxClosed


async def work_or_stop(custody: Custody[Any], request: ExitRequest) -> None:
    """Return when there is something to take, or the request to stop. A mailbox that is closed never has anything again."""

    async def asked(scope: trio.CancelScope) -> None:
        await request.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(asked, nursery.cancel_scope)
        try:
            await custody.wait()
        except MailboxClosed:
            await request.wait()
        nursery.cancel_scope.cancel()
