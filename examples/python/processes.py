"""The processes that `check.py` runs its tests against. Every wait is for a state, with an end."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Callable
from pathlib import Path

import zmq

from starlog import Broker, NewEvent, Position, Store
from subscription import Subscription

PATIENCE = 30.0


class Process:
    """A child process whose lines can be waited for. Its errors are shown if it disappoints."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self._errors = folder / f"{uuid.uuid4()}.err"
        with self._errors.open("wb") as errors:
            self._child = subprocess.Popen([str(word) for word in command], text=True,
                                           stdout=subprocess.PIPE, stderr=errors)
        self._name = Path(command[0]).name
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._pump, daemon=True).start()

    def line(self, wanted: Callable[[str], bool], timeout: float = PATIENCE) -> str:
        """The next line of its output that is wanted."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self._name} silent; {self.errors()}") from None
            if line is None:
                raise AssertionError(f"{self._name} ended; {self.errors()}")
            if wanted(line):
                return line

    def end(self, number: int | None = None) -> int:
        """Its exit code, after this signal if one is given."""
        if number is not None and self._child.poll() is None:
            self._child.send_signal(number)
        try:
            return self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise AssertionError(f"{self._name} did not end; {self.errors()}") from None

    def errors(self) -> str:
        return self._errors.read_text()

    def _pump(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


class Topology(unittest.TestCase):
    """A broker and a store process of two partitions, anew for each test."""

    binaries = Path("target/debug")

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.context = self.enterContext(zmq.Context())
        self.addCleanup(self.context.destroy, 0)
        broker = self.start("starlog-broker", "--listen", "tcp://127.0.0.1:*", "--data",
                            self.folder / "broker", "--witness-listen", "tcp://127.0.0.1:*")
        self.endpoint = broker.line(lambda line: "listening on" in line).split()[-1]
        self.witness = broker.line(lambda line: "witness on" in line).split()[-1]
        self.data = self.folder / "store"
        self.server = self.serve()
        self.store = self.client(self.endpoint)

    def start(self, name: str, *options: str | Path) -> Process:
        process = Process(self.folder, Topology.binaries / name, *options)
        self.addCleanup(process.end, signal.SIGKILL)
        return process

    def serve(self) -> Process:
        """The store process."""
        server = self.launch(self.data)
        server.line(lambda line: line.endswith("serving"))
        return server

    def launch(self, data: Path, *options: str) -> Process:
        """A store process; its files are small, so that there are several."""
        return self.start("starlog-store", "--broker", self.endpoint, "--data", data, "--store",
                          "orders:2", "--segment", "1MiB", "--heartbeat", "100ms", *options)

    def client(self, *endpoints: str) -> Store:
        broker = Broker(endpoints, self.context)
        self.addCleanup(broker.close)
        return Store(broker, "orders")

    def subscribe(self, places: dict[int, Position] | None = None,
                  category: str = "") -> Subscription:
        subscription = Subscription(self.store, places or {}, category)
        self.addCleanup(subscription.close)
        return subscription

    def fill(self, count: int) -> dict[str, dict[str, int]]:
        """Appends orders to streams of both partitions; gives what a projection has to find."""
        documents = {stream: {"events": 0, "total": 0} for stream in STREAMS}
        for number in range(count):
            stream = STREAMS[number % len(STREAMS)]
            self.store.append(stream, "any", [order(number)])
            documents[stream]["events"] += 1
            documents[stream]["total"] += number
        return documents


# Names alike share a partition; these are spread over both.
STREAMS = [f"order-{uuid.uuid5(uuid.NAMESPACE_OID, str(number))}" for number in range(6)]


def order(total: int) -> NewEvent:
    return NewEvent("OrderPlaced", json.dumps({"total": total}).encode(), "json")


class LossyLink:
    """Passes requests on to a broker, and loses the first answers."""

    def __init__(self, context: zmq.Context, broker: str, lost: int) -> None:
        self._front, self._back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        self._front.bind("tcp://127.0.0.1:*")
        self._back.connect(broker)
        self.endpoint = self._front.getsockopt_string(zmq.LAST_ENDPOINT)
        self._lost, self.lose, self._stop = lost, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> LossyLink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        poller, client = zmq.Poller(), b""
        for socket in (self._front, self._back):
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            ready = dict(poller.poll(50))
            if self._front in ready:
                client, *frames = self._front.recv_multipart()
                self._back.send_multipart(frames)
            if self._back in ready:
                frames = self._back.recv_multipart()
                if self._lost > 0:
                    self._lost -= 1
                    self.lose.set()
                else:
                    self._front.send_multipart([client, *frames])
        self._front.close(0)
        self._back.close(0)
