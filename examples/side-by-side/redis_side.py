"""Redis Streams with `appendfsync always`, asked over one pipelined connection.

The client counts the lines of answers, whose number is known from the question, and decodes
nothing: it must not be what is measured.
"""

from __future__ import annotations

import random
import socket
import statistics
import subprocess
import time
import uuid
from pathlib import Path

from plan import (BATCH, BATCH_IN_FLIGHT, READS_IN_FLIGHT, REPLAY_ROUNDS, SINGLE_IN_FLIGHT,
                  STREAM_EVENTS, STREAMS, Plan, Refused, payload)
from servers import Server, connected, find, free_port

SETTINGS = ["--appendonly", "yes", "--appendfsync", "always", "--save", "",
            "--auto-aof-rewrite-percentage", "0"]
FIELDS = 3
# Lines of one entry: its array, its id (2), its array of fields, each name and value (2 each).
ENTRY_LINES = 1 + 2 + 1 + 2 * 2 * FIELDS
PAGE = 10_000
FILL_IN_FLIGHT = 2000
WARM_UP_SECONDS = 1.0


def command(*words: str | bytes) -> bytes:
    parts = [word if isinstance(word, bytes) else word.encode() for word in words]
    body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), body)


def add(stream: str) -> bytes:
    return command("XADD", stream, "*", "type", "Measured", "id", str(uuid.uuid4()), "data",
                   payload())


class Pipe:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket: socket.socket = connected(port)
        self._tail = b"\r\n"

    def _receive(self) -> bytes:
        chunk = self._socket.recv(1 << 20)
        if not chunk:
            raise Refused("redis-server closed the connection")
        # No line of data begins so: it is an error. A line may begin with the chunk.
        if b"\r\n-" in chunk or b"\r\n-" in self._tail + chunk[:3]:
            text = self._tail + chunk
            sentence = text[text.index(b"\r\n-") + 2:].split(b"\r\n")[0]
            raise Refused(f"redis-server refused: {sentence.decode(errors='replace')}")
        self._tail = (self._tail + chunk[-2:])[-2:]
        return chunk

    def ask(self, question: bytes, lines: int) -> None:
        """Waits for an answer of so many lines."""
        self._socket.sendall(question)
        while lines > 0:
            lines -= self._receive().count(b"\n")

    def keep_under_way(self, questions: list[bytes], lines: int, in_flight: int,
                       seconds: float) -> float:
        """Answered questions per second, chosen at random."""
        chosen = random.Random(1)
        started = time.perf_counter()
        deadline = started + seconds
        self._socket.sendall(b"".join(chosen.choices(questions, k=in_flight)))
        under_way, answered, arrived = in_flight, 0, 0
        while under_way:
            arrived += self._receive().count(b"\n")
            ended, arrived = divmod(arrived, lines)
            under_way -= ended
            answered += ended
            if ended and time.perf_counter() < deadline:
                self._socket.sendall(b"".join(chosen.choices(questions, k=ended)))
                under_way += ended
        return answered / (time.perf_counter() - started)

    def send_all(self, questions: list[bytes], count: int, lines: int) -> None:
        """The questions round and round, so many of them in all."""
        sent = 0
        while sent < count:
            part = [questions[at % len(questions)]
                    for at in range(sent, min(count, sent + FILL_IN_FLIGHT))]
            self.ask(b"".join(part), lines * len(part))
            sent += len(part)

    def page(self, stream: str, after: bytes) -> tuple[int, bytes]:
        """How many entries follow, at most a page of them, and the id of the last."""
        begin = b"(" + after if after else b"-"
        self._socket.sendall(command("XRANGE", stream, begin, "+", "COUNT", str(PAGE)))
        answer = bytearray(self._receive())
        while b"\r\n" not in answer:
            answer += self._receive()
        entries = int(answer[1:answer.index(b"\r\n")])
        missing = 1 + entries * ENTRY_LINES - answer.count(b"\n")
        while missing > 0:
            chunk = self._receive()
            missing -= chunk.count(b"\n")
            answer += chunk
        if entries == 0:
            return 0, after
        last = answer.rindex(b"*2\r\n$")
        return entries, bytes(answer[last:].split(b"\r\n")[2])


class Redis:
    NAME = "Redis Streams"

    def __init__(self) -> None:
        self.commands: list[str] = []

    def missing(self) -> list[str]:
        if find("redis-server"):
            return []
        return ["redis-server is not there: `apt-get install redis-server`, or give --install, or "
                "leave it out with --peers"]

    def version(self) -> str:
        return subprocess.run([str(find("redis-server")), "--version"], capture_output=True,
                              text=True, check=True).stdout.strip()

    def measure(self, plan: Plan, folder: Path) -> dict[str, float]:
        port = free_port()
        line = [str(find("redis-server")), "--bind", "127.0.0.1", "--port", str(port), "--dir",
                str(folder), *SETTINGS]
        self.commands.append(" ".join(["redis-server", *(word or "''" for word in SETTINGS)]))
        self.commands += [
            f"single: XADD to one of {STREAMS} keys, one connection, {SINGLE_IN_FLIGHT} in flight",
            f"batch: MULTI, {BATCH} x XADD, EXEC, one connection, {BATCH_IN_FLIGHT} in flight",
            f"replay: XRANGE with COUNT {PAGE} over one key of {plan.events} entries",
            f"stream: XRANGE of one of {plan.streams_to_read} keys of {STREAM_EVENTS} entries",
        ]
        with Server(line, folder / "redis.log"):
            pipe = Pipe(port)
            single = self._append(pipe, plan)
            batch = self._batches(pipe, plan)
            replay = self._replay(pipe, plan)
            p50, rate = self._streams(pipe, plan)
        return {"single": single, "batch": batch, "replay": replay, "stream p50": p50,
                "stream rate": rate}

    @staticmethod
    def _append(pipe: Pipe, plan: Plan) -> float:
        questions = [add(f"bench-{number}") for number in range(STREAMS)]
        pipe.keep_under_way(questions, 2, SINGLE_IN_FLIGHT, min(WARM_UP_SECONDS, plan.seconds))
        return pipe.keep_under_way(questions, 2, SINGLE_IN_FLIGHT, plan.seconds)

    @staticmethod
    def _batches(pipe: Pipe, plan: Plan) -> float:
        pipe.ask(command("FLUSHALL"), 1)
        streams = random.Random(2)
        questions = [
            b"".join([command("MULTI"),
                      *(add(f"bench-{streams.randrange(STREAMS)}") for _ in range(BATCH)),
                      command("EXEC")])
            for _ in range(200)
        ]
        # OK, QUEUED for each, and the array of their ids.
        lines = 1 + BATCH + 1 + 2 * BATCH
        warm_up = min(WARM_UP_SECONDS, plan.seconds)
        pipe.keep_under_way(questions, lines, BATCH_IN_FLIGHT, warm_up)
        return BATCH * pipe.keep_under_way(questions, lines, BATCH_IN_FLIGHT, plan.seconds)

    @staticmethod
    def _replay(pipe: Pipe, plan: Plan) -> float:
        pipe.ask(command("FLUSHALL"), 1)
        pipe.send_all([add("all")], plan.events, 2)
        rates = []
        for _ in range(REPLAY_ROUNDS):
            started = time.perf_counter()
            events, (count, last) = 0, pipe.page("all", b"")
            while count:
                events += count
                count, last = pipe.page("all", last)
            if events != plan.events:
                raise Refused(f"redis-server gave {events} of {plan.events} events")
            rates.append(events / (time.perf_counter() - started))
        return statistics.median(rates)

    @staticmethod
    def _streams(pipe: Pipe, plan: Plan) -> tuple[float, float]:
        pipe.ask(command("FLUSHALL"), 1)
        streams = [f"bench-{number}" for number in range(plan.streams_to_read)]
        pipe.send_all([add(stream) for stream in streams], len(streams) * STREAM_EVENTS, 2)
        questions = [command("XRANGE", stream, "-", "+") for stream in streams]
        lines = 1 + STREAM_EVENTS * ENTRY_LINES
        chosen = random.Random(3)
        times = []
        deadline = time.perf_counter() + plan.seconds
        while not times or times[-1][1] < deadline:
            question = chosen.choice(questions)
            started = time.perf_counter()
            pipe.ask(question, lines)
            times.append((started, time.perf_counter()))
        p50 = statistics.median(ended - started for started, ended in times)
        rate = pipe.keep_under_way(questions, lines, READS_IN_FLIGHT, plan.seconds)
        return 1000 * p50, rate
