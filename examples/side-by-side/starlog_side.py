"""Starlog, measured by its own `starlog bench`, which starts a broker and a store for each load."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path

from plan import (BATCH, BATCH_IN_FLIGHT, DATA_BYTES, READS_IN_FLIGHT, REPLAY_ROUNDS,
                  SINGLE_IN_FLIGHT, STREAM_EVENTS, STREAMS, Plan, Refused)

PROGRAMS = ["starlog", "starlog-broker", "starlog-store"]


class Starlog:
    NAME = "Starlog"

    def __init__(self, folder: Path, allow_debug: bool) -> None:
        self._folder = folder
        self._allow_debug = allow_debug
        self.commands: list[str] = []
        self.machine = ""

    def missing(self) -> list[str]:
        absent = [name for name in PROGRAMS if not (self._folder / name).is_file()]
        if not absent:
            return []
        return [f"{self._folder} has no {', '.join(absent)}: run `cargo build --release`, or give "
                "--bin-dir"]

    def version(self) -> str:
        return subprocess.run([self._folder / "starlog", "--version"], capture_output=True,
                              text=True, check=True).stdout.strip()

    def measure(self, plan: Plan, folder: Path) -> dict[str, float]:
        seconds = f"{round(plan.seconds * 1000)}ms"
        size = ["--size", str(DATA_BYTES)]
        append = ["append", "--streams", str(STREAMS), *size, "--duration", seconds]
        single = self._bench(folder / "single", append, "--in-flight", str(SINGLE_IN_FLIGHT))
        batch = self._bench(folder / "batch", append, "--in-flight", str(BATCH_IN_FLIGHT),
                            "--batch", str(BATCH))
        replay = self._bench(folder / "replay", ["replay", *size], "--streams", str(STREAMS),
                             "--events", str(plan.events), "--rounds", str(REPLAY_ROUNDS))
        read = self._bench(folder / "read", ["read", *size], "--events", str(plan.events),
                           "--length", str(STREAM_EVENTS), "--duration", seconds,
                           "--in-flight", str(READS_IN_FLIGHT))
        figures = {figure["name"]: figure for figure in read["figures"]}
        return {
            "single": single["events_per_second"],
            "batch": batch["events_per_second"],
            "replay": statistics.median(one["events_per_second"] for one in replay["rounds"]),
            "stream p50": figures["alone"]["latency"]["p50_us"] / 1000,
            # The other sides are asked by one thread that waits for all answers at once, too.
            "stream rate": figures["bare"]["streams_per_second"],
        }

    def _bench(self, data: Path, words: list[str], *more: str) -> dict:
        line = ["bench", *words, *more]
        self.commands.append(" ".join(["starlog", *line]))
        data.mkdir()
        own = ["--bin-dir", str(self._folder), "--data", str(data), "--quiet", "-o", "json"]
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("STARLOG_")}
        ended = subprocess.run([self._folder / "starlog", *line, *own], env=environment,
                               capture_output=True, text=True)
        if ended.returncode != 0:
            raise Refused(f"`starlog {' '.join(line)}` failed: {ended.stderr.strip()}")
        report = json.loads(ended.stdout)
        machine = report["machine"]
        if machine["build"] != "release" and not self._allow_debug:
            raise Refused("figures of a debug build mean nothing: run `cargo build --release`")
        self.machine = (f"machine: {machine['cores']} cores, {machine['processor']}, "
                        f"{machine['memory_mib']} MiB, {machine['kernel']}; "
                        f"disk: {machine['disk']}; {machine['build']} build")
        return report
