"""A projection that survives restarts: for each stream its number of events and the sum of their
`total`, kept in SQLite.

    python3 projection.py --broker tcp://127.0.0.1:7400 --store orders --view orders.sqlite

The documents and the place up to which they are right change in one transaction. However the
process ends, it goes on where the documents are: every event counts exactly once.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import time
from typing import Any

from starlog import Broker, Event, Position, StarlogError, Store
from subscription import Batch, Subscription

SCHEMA = """
CREATE TABLE IF NOT EXISTS place (
    partition INTEGER PRIMARY KEY, lineage BLOB NOT NULL, epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS document (stream TEXT PRIMARY KEY, body TEXT NOT NULL);
"""


class View:
    """Documents and places in one database."""

    def __init__(self, path: str) -> None:
        # Transactions are begun by hand, and each is on the disk when it is done.
        self._database = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(SCHEMA)

    def places(self) -> dict[int, Position]:
        """Where each partition's documents are."""
        rows = self._database.execute("SELECT partition, lineage, epoch, sequence FROM place")
        return {partition: Position(*place) for partition, *place in rows}

    def document(self, stream: str) -> dict[str, Any]:
        """The document of a stream; of one without events, what it begins with."""
        row = self._database.execute("SELECT body FROM document WHERE stream = ?", [stream])
        found = row.fetchone()
        return json.loads(found[0]) if found else {"events": 0, "total": 0}

    def take(self, batch: Batch) -> None:
        """Folds a batch in: all of it, with the new place, or nothing."""
        with Transaction(self._database):
            self._advance(batch)
            for event in batch.events:
                # What begins with `$` is the system's own: it counts as read, and nothing more.
                if not event.stream.startswith("$"):
                    body = json.dumps(fold(self.document(event.stream), event))
                    self._database.execute("INSERT OR REPLACE INTO document VALUES (?, ?)",
                                           [event.stream, body])

    def clear(self) -> None:
        """Forgets everything, for a rebuild from the first event."""
        with Transaction(self._database):
            self._database.execute("DELETE FROM document")
            self._database.execute("DELETE FROM place")

    def _advance(self, batch: Batch) -> None:
        """Moves the place, if it still is where the batch begins.

        It is not if a second process writes the same view; that one of them stops keeps it right.
        """
        here = self.places().get(batch.partition, Position())
        if here.sequence != batch.before.sequence:
            raise RuntimeError(f"another process moved partition {batch.partition} of this view")
        after = batch.after
        self._database.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)",
                               [batch.partition, after.lineage, after.epoch, after.sequence])


class Transaction:
    """Commits at the end, or rolls back. IMMEDIATE: what is read in it stays true to its end."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")


def fold(document: dict[str, Any], event: Event) -> dict[str, Any]:
    """One event more. Versions have no holes, so a stream's version is its number of events."""
    if event.version != document["events"] + 1:
        raise RuntimeError(f"{event.stream}: version {event.version} after {document['events']}")
    total = json.loads(event.data).get("total", 0) if event.content_type == "json" else 0
    return {"events": event.version, "total": document["total"] + total}


def follow(store: Store, view: View, idle: float | None) -> None:
    """Keeps the view up to date: for ever, or until nothing has come for `idle` seconds."""
    subscription = Subscription(store, view.places())
    last = time.monotonic()
    while idle is None or time.monotonic() - last < idle:
        batch = subscription.next(min(idle or 1.0, 1.0))
        if batch is not None:
            view.take(batch)
            last = time.monotonic()
            # One line for each transaction: who waits for a state can read it here.
            print(batch.partition, batch.after.sequence, flush=True)


def main() -> int:
    """Follows the store; exit code 3 if the log no longer holds what the view was made from."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    options.add_argument("--broker", action="append", required=True, help="may be repeated")
    options.add_argument("--store", required=True)
    options.add_argument("--view", required=True, help="the SQLite database")
    options.add_argument("--rebuild", action="store_true", help="begin with the first event again")
    options.add_argument("--idle", type=float, help="end when nothing came for so many seconds")
    given = options.parse_args()
    view = View(given.view)
    if given.rebuild:
        view.clear()
    try:
        follow(Store(Broker(given.broker), given.store), view, given.idle)
    except StarlogError as error:
        if error.code != "AHEAD_OF_LOG":
            raise
        print(f"{error}. Start again with --rebuild.", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
