"""A subscription: every event of a store, or of a category, once, in order within each partition.

Feed messages are numbered: each says after which sequence it begins. Whatever is missing, because
it was lost on the way or lies before the subscription, is the same kind of gap, and replay fills it
(`store/PROTOCOL.md`, "Feed" and "Replay"). A category's places are the partition's sequences, too:
they tell how far it was looked through, whether there was something of it or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from starlog import (RETRY, Damaged, Event, Feed, FeedMessage, Position, Replay, StarlogError,
                     Store)

# A topic that is silent for this many heartbeats was cancelled, or its process is gone.
HEARTBEATS_MISSED_MAX = 3
PAUSE = 0.1


@dataclass(frozen=True)
class Batch:
    """The events of one partition, or of the category in it, between two positions."""

    partition: int
    before: Position
    after: Position
    events: list[Event]


class Subscription:
    """Feed and replay of all partitions of a store, or of a category in them, spliced.

    A batch may have no events of the category, and only tell that there are none.
    `AHEAD_OF_LOG` is raised if the history that speaks now does not hold what was read.
    """

    def __init__(self, store: Store, places: dict[int, Position], category: str = "") -> None:
        self._store, self.places, self._category = store, dict(places), category
        self.gaps_repaired = 0
        self._reigns: dict[int, int] = {}
        self._heard: dict[int, float] = {}
        self._patience = 2.0
        self._pause = 0.0
        self._leaders: dict[int, str] = {}
        self._replays: dict[str, Replay] = {}
        self.feed: Feed | None = None
        self._work: Iterator[Batch] = iter(())

    def next(self, timeout: float) -> Batch | None:
        """The next batch, or nothing within the time. Call it again after any time-out."""
        deadline = time.monotonic() + timeout
        while True:
            batch = next(self._work, None)
            left = deadline - time.monotonic()
            if batch is not None or left <= 0:
                return batch
            if self.feed is None or min(self._heard.values()) + self._patience < time.monotonic():
                self._connect(left)
                continue
            message = self.feed.receive(min(left, self._patience))
            if message is not None:
                self._heard[message.partition] = time.monotonic()
                self._patience = HEARTBEATS_MISSED_MAX * message.heartbeat
                self._work = self._take(message)

    def close(self) -> None:
        """Leaves the feed; `next` would begin anew."""
        self._work = iter(())  # First: a read that is given up says so on its socket.
        for replay in self._replays.values():
            replay.close()
        if self.feed is not None:
            self.feed.close()
        self._replays, self.feed = {}, None

    def _connect(self, timeout: float) -> None:
        """Asks who serves the store now: at the start, and when a topic has fallen silent."""
        self.close()
        time.sleep(min(timeout, self._pause))
        self._pause = PAUSE
        try:
            stores = self._store.broker.topology(min(timeout, 2.0))["stores"]
        except StarlogError as error:
            if error.code not in RETRY:
                raise
            return
        known = next((store for store in stores if store["name"] == self._store.name), None)
        if known is None or not known["members"]:
            return
        self._leaders = {m["partition"]: m["replay"] for m in known["members"] if m["leader"]}
        self.feed = Feed(self._store.broker.context, {m["feed"] for m in known["members"]},
                         self._store.name, known["partitions"], self._category)
        self._heard = dict.fromkeys(range(known["partitions"]), time.monotonic())

    def _take(self, message: FeedMessage) -> Iterator[Batch]:
        """What a message brings, with what is missing before it."""
        partition = message.partition
        place = self.places.setdefault(partition, Position())
        if message.epoch < max(place.epoch, self._reigns.get(partition, 0)):
            return
        compare(place, message.lineage, message.epoch, message.cut)
        joined = partition in self._reigns
        self._reigns[partition] = message.epoch
        # The cut tells where the reign before this one ended. If there were more in between, one of
        # them may have ended below our place: the store knows, and compares when it is asked.
        unsure = place.sequence > 0 and message.epoch > place.epoch + 1
        if place.sequence < message.previous or unsure:
            self.gaps_repaired += joined and place.sequence < message.previous
            yield from self._history(partition)
            place = self.places[partition]
            if place.sequence < message.previous or message.epoch != place.epoch:
                return  # Not repaired yet; the next message, a heartbeat at the latest, asks again.
        fresh = [event for event in message.events if event.sequence > place.sequence]
        place = replace(place, lineage=message.lineage, epoch=message.epoch)
        self.places[partition] = place
        if message.last > place.sequence:
            yield self._advance(partition, place, fresh, message.last)

    def _history(self, partition: int) -> Iterator[Batch]:
        """Replays from the place to the head, as far as one reign brings us."""
        endpoint = self._leaders.get(partition)
        if endpoint is None:
            self.close()
            return
        if endpoint not in self._replays:
            self._replays[endpoint] = Replay(self._store.broker.context, endpoint)
        place = self.places[partition]
        reign = None
        try:
            replay = self._replays[endpoint]
            for block in replay.read(self._store.name, partition, place, self._category):
                compare(place, block.lineage, block.epoch, None)
                # A node that lags cannot say whether our place is in the newer history, and only
                # the beginning of a read is compared with it.
                lags = block.epoch < self._reigns[partition] or block.head < place.sequence
                if lags or reign not in (None, block.epoch):
                    return
                reign = block.epoch
                place = replace(place, lineage=block.lineage, epoch=reign)
                self.places[partition] = place
                last = block.events[-1].sequence if block.events else place.sequence
                if block.end and self._category:
                    last = max(last, block.head)
                if last > place.sequence:
                    yield self._advance(partition, place, block.events, last)
                    place = self.places[partition]
        except StarlogError as error:
            if error.code not in RETRY:
                raise
            self.close()

    def _advance(self, partition: int, place: Position, events: list[Event], last: int) -> Batch:
        """Goes on to `last`, if the events are what must come until there."""
        sequences = [event.sequence for event in events]
        if self._category:
            right = (all(a < b for a, b in pairwise([place.sequence, *sequences, last + 1]))
                     and all(category(event.stream) == self._category for event in events))
        else:
            right = sequences == list(range(place.sequence + 1, last + 1))
        if not right:
            raise Damaged(f"{sequences} do not lead from {place.sequence} to {last}")
        after = replace(place, sequence=last)
        self.places[partition] = after
        return Batch(partition, place, after, events)


def category(stream: str) -> str:
    """What stands before a stream's first dash."""
    return stream.partition("-")[0]


def compare(place: Position, lineage: bytes, epoch: int, cut: int | None) -> None:
    """Raises `AHEAD_OF_LOG` if the history that speaks does not hold what was read."""
    if place.sequence == 0:
        return
    if lineage != place.lineage:
        raise StarlogError("AHEAD_OF_LOG", "another lineage leads: what was read is not in it")
    if cut is not None and epoch > place.epoch and place.sequence > cut:
        raise StarlogError("AHEAD_OF_LOG", f"read up to {place.sequence} in epoch {place.epoch}, "
                           f"but epoch {epoch} begins after {cut}", {"cut": cut})
