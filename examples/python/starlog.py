"""A client of Starlog in one file, written from `broker/PROTOCOL.md` and `store/PROTOCOL.md`.

Appends and reads of one stream go to the broker as plain Majordomo requests (MDP/0.2). History and
the feed come straight from the store processes, in their own messages.

    store = Store(Broker(["tcp://127.0.0.1:7400"]), "orders")
    store.append("order-1", "none", [NewEvent("Placed", b'{"total":12}', "json")])
    for event in store.read_stream("order-1"):
        print(event.version, event.type)

Nothing here is safe to share between threads: give each its own `Broker`.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import msgpack
import zmq

CONTENT_TYPES = ("bytes", "json", "messagepack")
# The codes of `broker/PROTOCOL.md` §2.6 that leave open whether the work was done, and those after
# which the same request may succeed.
UNKNOWN = {"TIMEOUT_UNKNOWN", "IO", "INTERNAL", "POISONED", "STEPPING_DOWN", "WORKER_LOST"}
RETRY = UNKNOWN | {"NOT_LEADER", "NO_WORKER", "BUSY", "DISK_FULL", "UNEXPECTED_NUMBER",
                   "SERVICE_NOT_FOUND", "STALE_TOPOLOGY", "EXPIRED", "INDEX_BEHIND"}
CODES = dict(enumerate((
    "INVALID_ARGUMENT EVENT_TOO_LARGE BATCH_TOO_LARGE WRONG_EXPECTED_VERSION CONDITION_FAILED "
    "STREAM_NOT_FOUND STORE_NOT_FOUND STREAM_DELETED NOT_LEADER NO_WORKER BUSY TIMEOUT_UNKNOWN "
    "INDEX_BEHIND EPOCH_CHANGED AHEAD_OF_LOG CORRUPT DISK_FULL IO UNAUTHENTICATED FORBIDDEN "
    "INTERNAL ID_REUSED CROSS_PARTITION BAD_SIGNATURE UNEXPECTED_NUMBER SERVICE_NOT_FOUND "
    "STALE_TOPOLOGY EXPIRED UNSUPPORTED POISONED STEPPING_DOWN WORKER_LOST").split(), start=1))


class StarlogError(Exception):
    """A refusal, by its code. `OUTCOME_UNKNOWN` is this client's own: see `Store.append`."""

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.details = code, details or {}


class Damaged(Exception):
    """Bytes that are no record, or not the record that was written."""


@dataclass(frozen=True)
class NewEvent:
    """An event to append. Keep the object to send it again: the id is what makes that harmless."""

    type: str
    data: bytes = b""
    content_type: str = "bytes"
    metadata: bytes = b""
    id: uuid.UUID = field(default_factory=uuid.uuid4)


@dataclass(frozen=True)
class Appended:
    """Where the events stand, and how safely. A `duplicate` was in the log already."""

    partition: int
    first_sequence: int
    last_sequence: int
    version: int
    epoch: int
    durability: str
    durable_on: list[str]
    duplicate: bool


@dataclass(frozen=True)
class Event:
    """An event of the log."""

    sequence: int
    version: int
    epoch: int
    time_us: int
    stream: str
    id: uuid.UUID
    type: str
    content_type: str
    metadata: bytes
    data: bytes


@dataclass(frozen=True)
class Position:
    """A place in a partition's log, and the reign whose log is known to reach there."""

    lineage: bytes = bytes(16)
    epoch: int = 0
    sequence: int = 0


def signature(stream: str, event: NewEvent | Event) -> bytes:
    """What the producer signs, so that everybody behind it can check the event."""
    digest = hashlib.sha1(event.id.bytes + bytes([CONTENT_TYPES.index(event.content_type)]))
    for part in (stream.encode(), event.type.encode(), event.metadata, event.data):
        digest.update(struct.pack("<I", len(part)) + part)
    return digest.digest()


# ---- requests through the broker -----------------------------------------------------------------


class Broker:
    """A Majordomo client (MDP/0.2) of the first broker that answers.

    A reply of MDP says only to which service it belongs, so there is one request at a time, and
    after a time-out the socket is thrown away with whatever may still arrive on it.
    """

    def __init__(self, endpoints: Sequence[str], context: zmq.Context | None = None) -> None:
        self.context = context or zmq.Context.instance()
        self._endpoints = itertools.cycle(endpoints)
        self._socket: zmq.Socket | None = None

    def request(self, service: str, body: list[bytes], timeout: float) -> list[bytes]:
        """Asks once and gives the body of the answer; an error of the broker is raised."""
        if self._socket is None:
            self._socket = dealer(self.context, next(self._endpoints))
        head = [b"MDPC02", b"\x01", service.encode()]
        self._socket.send_multipart(head + body)
        if not self._socket.poll(round(timeout * 1000)):
            self.close()
            raise StarlogError("TIMEOUT_UNKNOWN", f"{service}: no answer within {timeout:.1f} s")
        answer = self._socket.recv_multipart()
        if len(answer) < 4 or answer[:3] != [b"MDPC02", b"\x03", service.encode()]:
            self.close()
            raise StarlogError("INTERNAL", f"{answer[:3]} is no answer of {service}")
        if answer[3] == b"#starlog-error":
            code, _, message = answer[4].decode().partition(" ")
            raise StarlogError(code, message)
        return answer[3:]

    def topology(self, timeout: float = 2.0) -> dict[str, Any]:
        """All stores with the processes that serve them, as this broker knows them."""
        _, body = self.request("mmi.topology", [b""], timeout)
        return msgpack.unpackb(body)

    def close(self) -> None:
        """Forgets the connection; the next request goes to the next broker."""
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


class Store:
    """One store: appends, and reads of one stream."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker, self.name = broker, name

    def append(self, stream: str, expected: str | int, events: Sequence[NewEvent],
               timeout: float = 10.0) -> Appended:
        """Appends all events or none; `expected` is `any`, `none`, `exists` or a version.

        The same ids are sent until the outcome is known. If the time is over before that, the
        error is `OUTCOME_UNKNOWN`: call again with the same events, whenever, to learn it.
        """
        request = {"op": "append", "expected": expected, "events": [
            {"id": event.id.bytes, "type": event.type, "content_type": event.content_type,
             "metadata": event.metadata, "data": event.data,
             "signature": signature(stream, event)} for event in events]}
        deadline, doubt, pause = time.monotonic() + timeout, False, 0.02
        while True:
            patience = min(max(deadline - time.monotonic(), 0.1), 2.0)
            try:
                return picked(Appended, self._ask(stream, request, patience))
            except StarlogError as error:
                doubt |= error.code in UNKNOWN
                if not doubt and error.code not in RETRY or settles(error, expected):
                    raise
                if deadline - time.monotonic() <= pause or error.code not in RETRY:
                    if not doubt:
                        raise
                    raise StarlogError("OUTCOME_UNKNOWN", f"{error}; ask again") from error
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def read_stream(self, stream: str, start: int = 1, timeout: float = 10.0) -> Iterator[Event]:
        """The events of a stream from a version on, page by page."""
        while True:
            page = self._ask(stream, {"op": "read", "from": start, "limit": 1000}, timeout)
            for said in page["events"]:
                said |= {"stream": stream, "id": uuid.UUID(said["id"])}
                event = picked(Event, said)
                if signature(stream, event) != said["signature"]:
                    raise Damaged(f"the signature of event {event.id} does not fit it")
                yield event
                start = event.version + 1
            if page["end"]:
                return

    def _ask(self, stream: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        body = [stream.encode(), msgpack.packb(request)]
        answer = msgpack.unpackb(self.broker.request(self.name, body, timeout)[0])
        if "error" in answer:
            error = answer["error"]
            raise StarlogError(error["code"], error["message"], error["details"])
        return answer


def settles(error: StarlogError, expected: str | int) -> bool:
    """Whether this refusal also says that no earlier attempt was, or will ever be, carried out.

    Ids are looked up before versions are compared. So once the stream has passed the expected
    version, an attempt that still lies in some queue can do nothing any more; at the levels where
    a failover cuts nothing off, that is final.
    """
    if error.code != "WRONG_EXPECTED_VERSION" or expected in ("any", "exists"):
        return False
    return error.details.get("actual", 0) > (0 if expected == "none" else expected)


def picked(kind: type, said: dict[str, Any]) -> Any:
    """An object from the fields that this client knows; a later store may say more."""
    return kind(**{known.name: said[known.name] for known in fields(kind)})


def dealer(context: zmq.Context, endpoint: str) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    return socket


# ---- records -------------------------------------------------------------------------------------

RECORD = struct.Struct("<3I4B5Q16s2H2I20s16s")


def records(buffer: bytes) -> Iterator[Event]:
    """The events of whole records that stand back to back; each is checked."""
    at = 0
    while at < len(buffer):
        length = int.from_bytes(buffer[at:at + 4], "little")
        if length < RECORD.size or at + length > len(buffer):
            raise Damaged(f"a record of {length} bytes at {at} of {len(buffer)}")
        yield record(buffer[at:at + length])
        at += length


def record(raw: bytes) -> Event:
    """One record of `store/FORMAT.md`."""
    (_, header_crc, body_crc, kind, _, content, _, epoch, sequence, _, time_us, version, event_id,
     *lengths, signed, _) = RECORD.unpack_from(raw)
    if zlib.crc32(raw[8:120], zlib.crc32(raw[:4])) != header_crc:
        raise Damaged("the checksum of a record's header does not fit it")
    if zlib.crc32(raw[120:]) != body_crc:
        raise Damaged(f"the checksum of record {sequence} does not fit it")
    if kind != 1:
        raise Damaged(f"record {sequence} is of kind {kind}, which this client does not know")
    ends = list(itertools.accumulate(lengths, initial=120))
    stream, name, metadata, data = (raw[a:b] for a, b in itertools.pairwise(ends))
    event = Event(sequence, version, epoch, time_us, stream.decode(), uuid.UUID(bytes=event_id),
                  name.decode(), CONTENT_TYPES[content], metadata, data)
    if signature(event.stream, event) != signed:
        raise Damaged(f"the signature of record {sequence} does not fit it")
    return event


# ---- replay --------------------------------------------------------------------------------------

READ, CREDIT, CANCEL, BLOCK, FAIL = 1, 2, 3, 5, 6
HEAD = struct.Struct("<3sBBBHQ")
READ_BODY = struct.Struct("<6QIHBBBxH")
BLOCK_BODY = struct.Struct("<16s16s3QQI4x")
WINDOW_BYTES = 4 << 20
END = 1


@dataclass(frozen=True)
class Block:
    """A piece of history, and what the node that sent it knows."""

    lineage: bytes
    epoch: int
    head: int
    end: bool
    events: list[Event]


class Replay:
    """History from one store process, a read at a time."""

    def __init__(self, context: zmq.Context, endpoint: str) -> None:
        self._socket = dealer(context, endpoint)
        self._number = 0

    def close(self) -> None:
        self._socket.close(linger=0)

    def read(self, store: str, partition: int, place: Position, category: str = "",
             timeout: float = 5.0) -> Iterator[Block]:
        """Everything behind `place` that is committed now, or what is of a category there; at least
        one block, maybe empty. At the end of a category all up to the head was looked at.

        The store compares the place's epoch with its own history: `AHEAD_OF_LOG`.
        """
        names = store.encode() + category.encode()
        body = READ_BODY.pack(place.sequence + 1, 0, 0, 0, WINDOW_BYTES, place.epoch, 1 << 20,
                              partition, 3 if category else 0, 0, len(store.encode()),
                              len(category.encode())) + names
        return self._blocks(body, timeout)

    def read_stream(self, store: str, partition: int, stream: str,
                    timeout: float = 5.0) -> Iterator[Block]:
        """One stream, straight from the store: the same as `Store.read_stream`, but faster."""
        names = store.encode() + stream.encode()
        body = READ_BODY.pack(1, 0, 0, 0, WINDOW_BYTES, 0, 1 << 20, partition, 1, 0,
                              len(store.encode()), len(stream.encode())) + names
        return self._blocks(body, timeout)

    def _blocks(self, body: bytes, timeout: float) -> Iterator[Block]:
        self._number += 1
        self._send(READ, body)
        ended, credit = False, WINDOW_BYTES
        try:
            while not ended:
                kind, flags, head, raw = self._receive(timeout)
                if kind == FAIL:
                    ended = True
                    error = msgpack.unpackb(raw)
                    code = HEAD.unpack_from(head)[4]
                    raise StarlogError(CODES.get(code, str(code)), error["message"],
                                       error["details"])
                lineage, _, epoch, _, _, newest, count = BLOCK_BODY.unpack_from(head, HEAD.size)
                events = list(records(raw))
                if len(events) != count:
                    raise Damaged(f"a block of {count} records has {len(events)}")
                ended = bool(flags & END)
                credit += len(raw)
                if not ended:
                    self._send(CREDIT, struct.pack("<Q", credit))
                yield Block(lineage, epoch, newest, ended, events)
        finally:
            if not ended and not self._socket.closed:
                self._send(CANCEL, b"")

    def _send(self, kind: int, body: bytes) -> None:
        self._socket.send(HEAD.pack(b"SLR", 1, kind, 0, 0, self._number) + body)

    def _receive(self, timeout: float) -> tuple[int, int, bytes, bytes]:
        """The next message of this read; those of an earlier, cancelled one are passed over."""
        deadline = time.monotonic() + timeout
        while self._socket.poll(max(0, round((deadline - time.monotonic()) * 1000))):
            head, *rest = self._socket.recv_multipart()
            magic, version, kind, flags, _, number = HEAD.unpack_from(head)
            if (magic, version, number) == (b"SLR", 1, self._number) and kind in (BLOCK, FAIL):
                return kind, flags, head, rest[0]
        raise StarlogError("TIMEOUT_UNKNOWN", f"no history within {timeout:.1f} s")


def partition_of(stream: str, partitions: int) -> int:
    """The partition of a stream: by the text in its first braces, else by its whole name."""
    name = stream.encode()
    _, _, rest = name.partition(b"{")
    inside, brace, _ = rest.partition(b"}")
    key = inside if inside and brace else name
    return zlib.crc32(key) % 1024 * partitions // 1024


# ---- feed ----------------------------------------------------------------------------------------

FEED = struct.Struct("<3sBB3x16s3Q2IQ")


def topic(store: str, partition: int, category: str = "") -> bytes:
    """What to subscribe to: a partition, or what is of a category in it."""
    kind, rest = (b"C", category.encode() + b"\0") if category else (b"P", b"")
    return kind + store.encode() + b"\0" + partition.to_bytes(2, "big") + rest


@dataclass(frozen=True)
class FeedMessage:
    """What a leader said: records `previous + 1` to `last`, or, in a heartbeat, none.

    Of a category these are all that lie there, and a heartbeat, too, may lead on to its `last`.
    """

    partition: int
    lineage: bytes
    epoch: int
    previous: int
    last: int
    heartbeat: float
    cut: int
    events: list[Event]


class Feed:
    """The live records of some partitions, from all processes that may come to lead them."""

    def __init__(self, context: zmq.Context, endpoints: set[str], store: str, partitions: int,
                 category: str = "") -> None:
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._partitions = {topic(store, number, category): number for number in range(partitions)}
        for endpoint in endpoints:
            self._socket.connect(endpoint)
        for name in self._partitions:
            self._socket.subscribe(name)

    def close(self) -> None:
        self._socket.close(linger=0)

    def receive(self, timeout: float) -> FeedMessage | None:
        """The next message, or nothing within the time."""
        if not self._socket.poll(max(0, round(timeout * 1000))):
            return None
        name, head, *rest = self._socket.recv_multipart()
        magic, version, _, lineage, epoch, previous, last, count, beat, cut = FEED.unpack(head)
        if (magic, version) != (b"SLF", 1):
            raise Damaged("a feed message of another version")
        events = list(records(rest[0])) if rest else []
        if len(events) != count:
            raise Damaged(f"a feed message of {count} records has {len(events)}")
        return FeedMessage(self._partitions[name], lineage, epoch, previous, last, beat / 1000, cut, events)
