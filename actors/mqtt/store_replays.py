"""Replays in the store's file: asked for by a command, found by the service, ended by the store. Blocking; knows no trio.

Law: a replay that was asked for waits until the service has recorded how it ended. So a crash in between repeats it, and
loses nothing; and a letter waits for one replay at most, however often it is asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from .dead_letter import ReplayEnded

_END: Final = "UPDATE replay SET ended_at = ?, outcome = ? WHERE id = ? AND ended_at IS NULL"


def end(database: sqlite3.Connection, ended: Sequence[ReplayEnded]) -> None:
    """Record how these ended, in one transaction. Doing it twice changes nothing. Raises sqlite3.Error."""
    if not ended:
        return
    try:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_END, [(each.at, each.outcome.value, each.request) for each in ended])
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
