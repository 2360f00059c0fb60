"""Runs everything in this folder against real processes: python3 check.py --bin-dir target/debug

Needs `starlog-broker` and `starlog-store` in that folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
from contextlib import closing
from pathlib import Path

import msgpack
import zmq

import starlog
from page_examples import codes, dumps, masked
from processes import PATIENCE, STREAMS, LossyLink, Process, Topology, order
from starlog import NewEvent, Replay, StarlogError, partition_of, records
from subscription import Subscription

HERE = Path(__file__).resolve().parent


class Appends(Topology):
    """Requests through the broker."""

    def test_versions_are_kept_and_conflicts_refused(self) -> None:
        first = self.store.append("order-1", "none", [order(1), order(2)])
        self.assertEqual((first.version, first.duplicate), (2, False))
        self.assertEqual(self.store.append("order-1", 2, [order(3)]).version, 3)
        with self.assertRaises(StarlogError) as refused:
            self.store.append("order-1", 2, [order(4)])
        self.assertEqual(refused.exception.code, "WRONG_EXPECTED_VERSION")
        self.assertEqual(refused.exception.details["actual"], 3)
        events = list(self.store.read_stream("order-1"))
        self.assertEqual([json.loads(event.data)["total"] for event in events], [1, 2, 3])
        self.assertEqual([event.version for event in events], [1, 2, 3])

    def test_a_long_stream_comes_page_by_page(self) -> None:
        sent = [order(number) for number in range(1500)]
        for start in range(0, len(sent), 500):
            self.store.append("order-1", start or "none", sent[start:start + 500])
        ids = [event.id for event in sent]
        self.assertEqual([event.id for event in self.store.read_stream("order-1")], ids)
        partition = partition_of("order-1", 2)
        members = self.store.broker.topology()["stores"][0]["members"]
        endpoint = next(m["replay"] for m in members if m["partition"] == partition)
        with closing(Replay(self.context, endpoint)) as replay:
            blocks = replay.read_stream("orders", partition, "order-1")
            self.assertEqual([event.id for block in blocks for event in block.events], ids)

    def test_what_was_done_unheard_is_not_done_twice(self) -> None:
        event = order(7)
        with LossyLink(self.context, self.endpoint, lost=1) as link:
            appended = self.client(link.endpoint).append("order-1", "none", [event])
        self.assertTrue(appended.duplicate, "the first attempt was carried out")
        self.assertEqual([seen.id for seen in self.store.read_stream("order-1")], [event.id])

    def test_an_unknown_outcome_is_told_and_can_be_learned_later(self) -> None:
        events = [order(7), order(8)]
        with LossyLink(self.context, self.endpoint, lost=100) as link:
            with self.assertRaises(StarlogError) as unknown:
                self.client(link.endpoint).append("order-1", "none", events, timeout=0.5)
            link.lose.wait(PATIENCE)
        self.assertEqual(unknown.exception.code, "OUTCOME_UNKNOWN")
        self.assertTrue(self.store.append("order-1", "none", events).duplicate)
        self.assertEqual(len(list(self.store.read_stream("order-1"))), 2)

    def test_a_silent_broker_is_left_for_the_next(self) -> None:
        with closing(self.context.socket(zmq.ROUTER)) as silent:
            silent.bind("tcp://127.0.0.1:*")
            deaf = silent.getsockopt_string(zmq.LAST_ENDPOINT)
            appended = self.client(deaf, self.endpoint).append("order-1", "none", [order(1)])
        self.assertFalse(appended.duplicate)


class Subscriptions(Topology):
    """Feed and replay."""

    def collect(self, subscription: Subscription, count: int) -> list[tuple[int, int]]:
        """Partition and sequence of this many events, in the order in which they came."""
        seen: list[tuple[int, int]] = []
        deadline = time.monotonic() + PATIENCE
        while len(seen) < count:
            batch = subscription.next(deadline - time.monotonic())
            assert batch is not None, f"only {len(seen)} of {count} events came"
            seen += [(batch.partition, event.sequence) for event in batch.events]
        return seen

    def expect_all(self, seen: list[tuple[int, int]]) -> None:
        """Every event once, and in order within each partition."""
        for partition in (0, 1):
            own = [sequence for number, sequence in seen if number == partition]
            self.assertEqual(own, list(range(1, len(own) + 1)))
            self.assertTrue(own, "both partitions have events")

    def test_who_comes_late_gets_history_and_then_the_feed(self) -> None:
        self.fill(300)
        subscription = self.subscribe()
        seen = self.collect(subscription, 300)
        self.fill(60)
        seen += self.collect(subscription, 60)
        self.expect_all(seen)
        self.assertEqual(subscription.gaps_repaired, 0)

    def test_lost_feed_messages_are_noticed_by_number_and_repaired(self) -> None:
        self.fill(30)
        subscription = self.subscribe()
        seen = self.collect(subscription, 30)
        self.fill(30)
        self.lose(subscription, 30)
        # Nothing follows: that something is missing shows in the next heartbeats.
        seen += self.collect(subscription, 30)
        self.assertGreaterEqual(subscription.gaps_repaired, 1)
        self.expect_all(seen)

    def test_a_category_is_followed_and_its_place_goes_on_without_it(self) -> None:
        carts = [stream.replace("order", "cart") for stream in STREAMS]
        for cart in carts:
            self.store.append(cart, "none", [order(1)])
        self.fill(30)
        subscription = self.subscribe(category="cart")
        seen = self.collect(subscription, 6)
        for cart in carts:
            self.store.append(cart, 1, [order(2), order(3)])
        self.lose(subscription, 12)
        seen += self.collect(subscription, 12)
        self.assertGreaterEqual(subscription.gaps_repaired, 1)
        wanted = sorted(3 * [partition_of(cart, 2) for cart in carts])
        self.assertEqual(sorted(partition for partition, _ in seen), wanted)
        for partition in (0, 1):
            own = [sequence for number, sequence in seen if number == partition]
            self.assertEqual(own, sorted(set(own)), "each event once, upwards")
        self.fill(30)
        deadline = time.monotonic() + PATIENCE
        while sum(place.sequence for place in subscription.places.values()) < 6 + 30 + 12 + 30:
            batch = subscription.next(deadline - time.monotonic())
            assert batch is not None, f"the place stays at {subscription.places}"
            self.assertEqual(batch.events, [], "nothing else comes")

    def lose(self, subscription: Subscription, count: int) -> None:
        """Takes feed messages away from a subscription until these events are among them."""
        deadline = time.monotonic() + PATIENCE
        while count > 0:
            assert subscription.feed is not None
            message = subscription.feed.receive(deadline - time.monotonic())
            assert message is not None, f"{count} events did not come"
            count -= len(message.events)

    def test_a_restarted_store_is_followed_into_its_next_epoch(self) -> None:
        self.fill(20)
        subscription = self.subscribe()
        seen = self.collect(subscription, 20)
        before = {place.epoch for place in subscription.places.values()}
        self.server.end(signal.SIGKILL)
        self.server = self.serve()
        self.fill(20)
        seen += self.collect(subscription, 20)
        self.expect_all(seen)
        after = {place.epoch for place in subscription.places.values()}
        self.assertEqual(after, {epoch + 1 for epoch in before})


class Pairs(Topology):
    """Two nodes with the same partitions: the same client, and no event lost or doubled."""

    def serve(self) -> Process:
        """Starts both nodes; gives the one that leads, as it is configured."""
        doors = [free_endpoint(), free_endpoint()]
        nodes = []
        for role, door, peer in (("primary", *doors), ("backup", *reversed(doors))):
            nodes.append(self.launch(self.data / role, "--role", role, "--pair-listen", door,
                                     "--peer", peer, "--witness", self.witness))
        for node in nodes:
            node.line(lambda line: line.endswith("serving"))
        return nodes[0]

    def test_a_killed_leader_is_followed_by_the_other_node(self) -> None:
        self.wait_for_both()
        documents = self.fill(60)
        subscription = self.subscribe()
        seen = self.versions(subscription, 60)
        first = {place.epoch for place in subscription.places.values()}
        self.server.end(signal.SIGKILL)
        for stream, more in self.fill(60).items():
            documents[stream]["events"] += more["events"]
        for stream, versions in self.versions(subscription, 60).items():
            seen[stream] += versions
        wanted = {stream: list(range(1, said["events"] + 1)) for stream, said in documents.items()}
        self.assertEqual(seen, wanted)
        second = {place.epoch for place in subscription.places.values()}
        self.assertGreater(min(second), max(first))

    def wait_for_both(self) -> None:
        """Appends until an event is on both nodes; before that the second could not take over."""
        deadline = time.monotonic() + PATIENCE
        while len(self.store.append("pair", "any", [order(0)]).durable_on) < 2:
            self.assertLess(time.monotonic(), deadline, "the second node did not join")

    def versions(self, subscription: Subscription, count: int) -> dict[str, list[int]]:
        """The versions of so many events of `fill` by their streams."""
        seen: dict[str, list[int]] = {}
        deadline = time.monotonic() + PATIENCE
        while count > 0:
            batch = subscription.next(deadline - time.monotonic())
            assert batch is not None, f"{count} events are missing"
            for event in batch.events:
                if event.stream in STREAMS:
                    seen.setdefault(event.stream, []).append(event.version)
                    count -= 1
        return seen


def free_endpoint() -> str:
    """An address that nobody uses now; pairs have to know each other's before they start."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{door.getsockname()[1]}"


class Projections(Topology):
    """The projection as a process."""

    def project(self, *options: str) -> Process:
        process = Process(self.folder, sys.executable, HERE / "projection.py", "--broker",
                          self.endpoint, "--store", "orders", "--view", self.view, *options)
        self.addCleanup(process.end, signal.SIGKILL)
        return process

    def setUp(self) -> None:
        super().setUp()
        self.view = self.folder / "view.sqlite"

    def documents(self) -> dict[str, dict[str, int]]:
        with closing(sqlite3.connect(self.view)) as database:
            rows = database.execute("SELECT stream, body FROM document").fetchall()
        return {stream: json.loads(body) for stream, body in rows}

    def test_a_killed_projection_counts_every_event_once(self) -> None:
        wanted = {stream: {"events": 0, "total": 0} for stream in STREAMS}
        enough = threading.Event()
        writer = threading.Thread(target=self.write, args=(wanted, enough))
        writer.start()
        self.addCleanup(enough.set)
        for lines in (1, 5, 25):
            process = self.project()
            for _ in range(lines):
                process.line(lambda line: True)
            self.assertEqual(process.end(signal.SIGKILL), -signal.SIGKILL)
        enough.set()
        writer.join(PATIENCE)
        self.assertEqual(self.project("--idle", "1").end(), 0)
        self.assertEqual(self.documents(), wanted)

    def write(self, wanted: dict[str, dict[str, int]], enough: threading.Event) -> None:
        """Appends until it is enough, and counts what a projection has to find."""
        while not enough.is_set():
            for stream, more in self.fill(60).items():
                for name, count in more.items():
                    wanted[stream][name] += count

    def test_a_store_put_back_to_an_earlier_state_is_noticed(self) -> None:
        self.fill(12)
        self.server.end(signal.SIGTERM)
        shutil.copytree(self.data, self.folder / "backup")
        self.server = self.serve()
        self.fill(12)
        self.assertEqual(self.project("--idle", "1").end(), 0)
        self.server.end(signal.SIGTERM)
        shutil.rmtree(self.data)
        shutil.copytree(self.folder / "backup", self.data)
        self.serve().end(signal.SIGTERM)  # In the epoch that the projection knows already.
        # The next epoch begins below the projection's place. The one after it does not, for another
        # history has grown to just there: that it is another one, only a replay can tell.
        for more in (12, 0):
            self.server = self.serve()
            stopped = self.project()
            self.assertEqual(stopped.end(), 3)
            self.assertIn("AHEAD_OF_LOG", stopped.errors())
            self.fill(more)
            self.server.end(signal.SIGTERM)
        self.server = self.serve()
        self.assertEqual(self.project("--rebuild", "--idle", "1").end(), 0)
        self.assertEqual(sum(found["events"] for found in self.documents().values()), 24)


class Segments(Topology):
    """The segment checker on the files of a store."""

    def verify(self, *files: Path) -> tuple[int, str]:
        done = subprocess.run([sys.executable, HERE / "verify_segment.py", *files], text=True,
                              stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
        return done.returncode, done.stdout

    def segments(self) -> list[Path]:
        """The files of the partition of `order-1`, after more than fits into two of them."""
        photo = bytes(range(256)) * 400
        for _ in range(25):
            self.store.append("order-1", "any", [order(1), NewEvent("Photo", photo)])
        self.server.end(signal.SIGTERM)
        files = sorted((self.data / "orders" / str(partition_of("order-1", 2))).glob("*.segment"))
        self.assertGreaterEqual(len(files), 3)
        return files

    def test_whole_files_are_clean_and_one_wrong_byte_is_found(self) -> None:
        files = self.segments()
        code, said = self.verify(*files)
        self.assertEqual(code, 0, said)
        self.assertEqual(said.count("sealed"), len(files) - 1)
        whole = files[0].read_bytes()
        second = 4096 + int.from_bytes(whole[4096:4100], "little")
        third = second + int.from_bytes(whole[second:second + 4], "little")
        length = len(whole)
        for offset, place in [
            (third - 50_000, f"offset {second}, sequence 2: checksum of the record's body"),
            (second + 48, f"offset {second}, sequence 2: checksum of the record's header"),
            (second, f"offset {second}, sequence 2: checksum of the record's header"),
            (40, "offset 0: header"),
            (length - 90, f"offset {length - 128}: footer"),
            (length - 130, f"offset {length - 130}: neither zeros nor the table of offsets"),
        ]:
            with self.subTest(offset=offset):
                damaged = bytearray(whole)
                damaged[offset] ^= 0x10
                files[0].write_bytes(damaged)
                self.assertEqual(self.verify(files[0]),
                                 (1, f"{files[0]}: damaged at {place}\n"))

    def test_an_open_end_has_zeros_behind_it(self) -> None:
        last = self.segments()[-1]
        whole = last.read_bytes()
        end = len(whole.rstrip(b"\0")) + 7 & ~7
        for damaged, place in [
            (whole[:end] + b"torn" + whole[end + 4:], f"offset {end}, sequence 51: "),
            (whole[:-200] + b"torn" + whole[-196:], f"offset {len(whole) - 200}: neither zeros"),
            (whole[:-50], f"offset {len(whole) - 50}: end of the file"),
            (whole[:100], "offset 0: header"),
        ]:
            with self.subTest(place=place):
                last.write_bytes(damaged)
                code, said = self.verify(last)
                self.assertEqual(code, 1)
                self.assertIn(f"damaged at {place}", said)


class Readme(Topology):
    """The commands of the folder's page, on this topology instead of one at the default address."""

    def test_the_commands_do_what_they_promise(self) -> None:
        commands = (HERE / "README.md").read_text().split("```sh\n")[-1].partition("```")[0]
        for here, there in [("cd examples/python", f"cd {HERE}"),
                            ("../../target/python/bin/python", sys.executable),
                            ("tcp://127.0.0.1:7400", self.endpoint),
                            ("/tmp/orders.sqlite", str(self.folder / "view.sqlite")),
                            ("/tmp/store/orders/0", str(self.data / "orders/?"))]:
            self.assertIn(here, commands)
            commands = commands.replace(here, there)
        done = subprocess.run(["bash", "-euc", commands], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        for wanted in ("Appended(", "OrderPlaced", "\n1 1\n", "records 1 to 1, open"):
            self.assertIn(wanted, done.stdout)


class Pages(Topology):
    """The worked examples of the protocol pages: what is said there is sent, and answered alike."""

    def ask(self, endpoint: str, *frames: bytes) -> list[bytes]:
        with closing(starlog.dealer(self.context, endpoint)) as dealer:
            dealer.send_multipart(frames)
            return self.receive(dealer)

    def receive(self, peer: zmq.Socket) -> list[bytes]:
        self.assertTrue(peer.poll(int(PATIENCE * 1000)), "no answer")
        return peer.recv_multipart()

    def expect_map(self, answer: bytes, example: bytes, *other: str) -> None:
        """The same map, but for the fields that differ from run to run."""
        said, wanted = msgpack.unpackb(answer), msgpack.unpackb(example)
        self.assertEqual(list(said), list(wanted))
        for fields in (said, wanted, *said.get("events", []), *wanted.get("events", [])):
            for name in other:
                fields.pop(name, None)
        self.assertEqual(said, wanted)

    def test_examples_are_what_is_said(self) -> None:
        page = dumps("store/PROTOCOL.md")
        self.plain(page)
        member = self.store.broker.topology()["stores"][0]["members"][1]
        self.assertEqual(member["partition"], partition_of("order-17", 2))
        feed = self.context.socket(zmq.SUB)
        with closing(feed):
            feed.connect(member["feed"])
            feed.subscribe(page["frame 0 of both"])
            self.feed(self.receive(feed), page["frame 0 of both"], page["heartbeat, frame 1"])
            self.dialect(dumps("broker/PROTOCOL.md"))
            while len(said := self.receive(feed)) < 3:
                pass
            self.feed(said[:2], page["frame 0 of both"], page["records, frame 1"])
        block = self.ask(member["replay"], page["READ"])
        self.assertEqual(block[1], said[2])
        nodes = slice(16, 48)
        self.assertEqual(masked(block[0], nodes), masked(page["BLOCK, frame 0"], nodes))
        times = [slice(4, 8), slice(40, 48), slice(104, 120)]  # with what is computed from them
        self.assertEqual(masked(block[1], *times), masked(page["BLOCK, frame 1"], *times))
        self.assertEqual([event.type for event in records(page["BLOCK, frame 1"])], ["Paid"])

    def plain(self, page: dict[str, bytes]) -> None:
        head = [b"MDPC02", b"\x01", b"orders", b"order-17"]
        answer = self.ask(self.endpoint, *head, page["append, frame 4"])
        self.assertEqual(answer[:-1], [b"MDPC02", b"\x03", b"orders"])
        self.expect_map(answer[-1], page["answer to the append, frame 3"], "durable_on")
        answer = self.ask(self.endpoint, *head, page["read, frame 4"])
        self.expect_map(answer[-1], page["answer to the read, frame 3"], "time_us")

    def feed(self, said: list[bytes], topic: bytes, header: bytes) -> None:
        lineage_and_interval = [slice(8, 24), slice(52, 56)]
        self.assertEqual([said[0], masked(said[1], *lineage_and_interval)],
                         [topic, masked(header, *lineage_and_interval)])

    def dialect(self, page: dict[str, bytes]) -> None:
        with closing(starlog.dealer(self.context, self.endpoint)) as dealer:
            dealer.send_multipart([page["HELLO, frame 0"], page["HELLO, frame 1"]])
            welcome = self.receive(dealer)
            self.assertEqual(welcome[0], page["WELCOME, frame 0"])
            self.expect_map(welcome[1], page["WELCOME, frame 1"], "broker")
            dealer.send_multipart([page["REQUEST, frame 0"], page["REQUEST, frame 1"]])
            while (reply := self.receive(dealer))[0][4] == HEARTBEAT:
                pass
            self.assertEqual(reply[0], page["REPLY, frame 0"])
            incarnation = slice(2, 18)
            self.assertEqual(masked(reply[1], incarnation),
                             masked(page["REPLY, frame 1"], incarnation))

    def test_the_client_knows_the_codes_of_the_page(self) -> None:
        page = codes()
        self.assertEqual({number: name for number, name, _, _ in page}, starlog.CODES)
        self.assertEqual({name for _, name, unknown, _ in page if unknown}, starlog.UNKNOWN)
        self.assertEqual({name for _, name, _, again in page if again}, starlog.RETRY)


# Kind of a dialect message.
HEARTBEAT = 3


def load_tests(loader: unittest.TestLoader, *_: object) -> unittest.TestSuite:
    cases = [Appends, Subscriptions, Pairs, Projections, Segments, Readme,
             Pages]
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    options.add_argument("--bin-dir", type=Path, default=Topology.binaries)
    given, rest = options.parse_known_args()
    Topology.binaries = given.bin_dir.resolve()
    missing = [name for name in ("starlog-broker", "starlog-store")
               if not (Topology.binaries / name).is_file()]
    if missing:
        sys.exit(f"{', '.join(missing)} not in {Topology.binaries}: cargo build builds them")
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
