"""What is measured on every side."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

DATA_BYTES = 256
STREAMS = 10_000
STREAM_EVENTS = 100
SINGLE_IN_FLIGHT = 64
BATCH = 100
BATCH_IN_FLIGHT = 8
READS_IN_FLIGHT = 16
REPLAY_ROUNDS = 3


class Refused(Exception):
    """Why nothing is measured, and what to do about it."""


@dataclass(frozen=True)
class Plan:
    """The numbers that the user gave."""

    events: int
    seconds: float

    @property
    def streams_to_read(self) -> int:
        """Streams of 100 events that the events make."""
        return max(1, self.events // STREAM_EVENTS)


@dataclass(frozen=True)
class Load:
    """One row of the table."""

    name: str
    what: str
    unit: str

    def show(self, value: float) -> str:
        return f"{value:.2f}" if self.unit == "ms" else f"{value:,.0f}"


LOADS = [
    Load("single", f"single appends, {SINGLE_IN_FLIGHT} in flight", "events/s"),
    Load("batch", f"batches of {BATCH}, {BATCH_IN_FLIGHT} in flight", "events/s"),
    Load("replay", "replay of all events", "events/s"),
    Load("stream p50", f"one stream of {STREAM_EVENTS} events, p50", "ms"),
    Load("stream rate", f"the same, {READS_IN_FLIGHT} in flight", "streams/s"),
]


def payload(seed: int = 1) -> str:
    """Letters and digits that hardly compress, and that need no quotes anywhere."""
    letters = string.ascii_letters + string.digits
    return "".join(random.Random(seed).choices(letters, k=DATA_BYTES))
