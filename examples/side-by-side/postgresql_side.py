"""PostgreSQL with `synchronous_commit on`, asked by pgbench, with what Debian's package sets up."""

from __future__ import annotations

import math
import os
import pwd
import re
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from plan import (BATCH, BATCH_IN_FLIGHT, READS_IN_FLIGHT, REPLAY_ROUNDS, SINGLE_IN_FLIGHT,
                  STREAM_EVENTS, STREAMS, Plan, Refused, payload)
from servers import Server, connected, find, free_port

SETTINGS = ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB",
            "max_wal_size=4GB", "max_connections=200"]
TABLE = """
create table events (
    sequence bigint generated always as identity primary key,
    stream text not null, type text not null, id uuid not null, data bytea not null);
create index on events (stream, sequence);
"""
SINGLE = f"""
\\set number random(1, {STREAMS})
insert into events (stream, type, id, data)
    values ('bench-' || :number, 'Measured', gen_random_uuid(), convert_to(:data, 'UTF8'));
"""
BATCHES = f"""
\\set number random(1, {STREAMS})
insert into events (stream, type, id, data)
    select 'bench-' || (1 + (:number + place) % {STREAMS}), 'Measured', gen_random_uuid(),
        convert_to(event, 'UTF8')
    from unnest(:batch::text[]) with ordinality as rows (event, place);
"""
FILL = """
truncate events restart identity;
insert into events (stream, type, id, data)
    select 'bench-' || (1 + number % {streams}), 'Measured', gen_random_uuid(),
        convert_to('{data}', 'UTF8')
    from generate_series(0, {events} - 1) as number order by number;
vacuum analyze events;
checkpoint;
"""
STREAM = """
\\set number random(1, {streams})
select id, type, data from events where stream = 'bench-' || :number order by sequence;
"""
REPLAY = ("copy (select stream, type, id, data from events order by sequence) "
          "to stdout (format binary)")
# pgbench counts whole seconds.
SECONDS_MIN = 1
USER = "postgres"
PROGRAMS = ["initdb", "postgres", "pgbench", "psql"]


def program(name: str) -> str | None:
    """Debian keeps the server's programs in a folder for each version: the newest one."""
    def version(folder: Path) -> float:
        return float(folder.parent.name) if folder.parent.name.replace(".", "").isdigit() else 0.0

    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True)
    return find(name, *folders)


def not_root() -> list[str]:
    """PostgreSQL does not run as root: its own user, where this script does."""
    return ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []


class PostgreSql:
    NAME = "PostgreSQL"

    def __init__(self) -> None:
        self.commands: list[str] = []

    def missing(self) -> list[str]:
        absent = [name for name in PROGRAMS if program(name) is None]
        sentences = []
        if absent:
            sentences.append(f"{', '.join(absent)} of PostgreSQL not there: `apt-get install "
                             "postgresql`, or give --install, or leave it out with --peers")
        if os.geteuid() == 0:
            if shutil.which("runuser") is None:
                sentences.append("runuser is not there: run this as another user than root")
            try:
                pwd.getpwnam(USER)
            except KeyError:
                sentences.append(f"there is no user {USER}, and PostgreSQL does not run as root: "
                                 "run this as another user")
        return sentences

    def version(self) -> str:
        return subprocess.run([str(program("postgres")), "--version"], capture_output=True,
                              text=True, check=True).stdout.strip()

    def measure(self, plan: Plan, folder: Path) -> dict[str, float]:
        # The server's user has to reach its folder, and the folder has to be its own.
        folder.chmod(0o755)
        cluster = folder / "cluster"
        cluster.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(cluster, USER)
        initdb = [*not_root(), str(program("initdb")), "--pgdata", str(cluster), "--username",
                  USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"]
        _run(initdb, folder)
        port = free_port()
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=",
                    *SETTINGS]
        line = [*not_root(), str(program("postgres")), "-D", str(cluster),
                *(word for setting in settings for word in ("-c", setting))]
        self.commands.append(" ".join(["postgres", *(f"-c {setting}" for setting in SETTINGS)]))
        with Server(line, folder / "postgres.log"):
            connected(port).close()
            session = _Session(port, folder, self.commands)
            session.wait_until_ready()
            session.sql(TABLE)
            return self._loads(session, plan)

    @staticmethod
    def _loads(session: _Session, plan: Plan) -> dict[str, float]:
        seconds = max(SECONDS_MIN, math.ceil(plan.seconds))
        single = session.pgbench("single", SINGLE, SINGLE_IN_FLIGHT, seconds,
                                 {"data": payload()})
        events = ",".join(payload(seed) for seed in range(BATCH))
        batch = session.pgbench("batch", BATCHES, BATCH_IN_FLIGHT, seconds,
                                {"batch": "{" + events + "}"})
        streams = plan.streams_to_read
        filled = streams * STREAM_EVENTS
        for statement in FILL.format(streams=streams, data=payload(), events=filled).split(";"):
            if statement.strip():
                session.sql(statement)
        replay = statistics.median(filled / session.copy() for _ in range(REPLAY_ROUNDS))
        script = STREAM.format(streams=streams)
        session.pgbench("stream", script, 1, seconds, {}, logged=True)
        rate = session.pgbench("stream", script, READS_IN_FLIGHT, seconds, {})
        return {"single": single, "batch": BATCH * batch, "replay": replay,
                "stream p50": session.logged_p50_ms(), "stream rate": rate}


class _Session:
    """Clients of one server."""

    def __init__(self, port: int, folder: Path, commands: list[str]) -> None:
        self._at = ["-h", "127.0.0.1", "-p", str(port), "-U", USER]
        self._folder = folder
        self._commands = commands

    def wait_until_ready(self) -> None:
        """It listens before it takes questions."""
        deadline = time.monotonic() + 30
        while subprocess.run(self._psql("select 1"), capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise Refused("PostgreSQL does not become ready")
            time.sleep(0.05)

    def _psql(self, statement: str) -> list[str]:
        return [str(program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", *self._at, "-d",
                "postgres", "-c", statement]

    def sql(self, statement: str) -> None:
        _run(self._psql(statement), self._folder)

    def copy(self) -> float:
        """Seconds of one replay."""
        line = f'psql -c "{REPLAY}" > /dev/null'
        if line not in self._commands:
            self._commands.append(line)
        started = time.perf_counter()
        with open(os.devnull, "wb") as nowhere:
            subprocess.run(self._psql(REPLAY), stdout=nowhere, check=True)
        return time.perf_counter() - started

    def pgbench(self, name: str, script: str, clients: int, seconds: int,
                variables: dict[str, str], logged: bool = False) -> float:
        """Transactions per second."""
        file = self._folder / f"{name}.sql"
        file.write_text(script.lstrip())
        words = ["-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-T",
                 str(seconds), "-f", str(file)]
        shown = " ".join(words).replace(str(file), file.name)
        given = [word for key, value in variables.items() for word in ("-D", f"{key}={value}")]
        log = ["-l", f"--log-prefix={self._folder / 'latency'}"] if logged else []
        statement = " ".join(script.split("\n", 2)[2].split())
        self._commands.append(f"pgbench {shown}  [{statement}]")
        output = _run([str(program("pgbench")), *words, *given, *log, *self._at, "postgres"],
                      self._folder)
        failed = re.search(r"number of failed transactions: (\d+)", output)
        if failed and int(failed[1]) > 0:
            raise Refused(f"pgbench {name}: {failed[0]}")
        rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
        if rate is None:
            raise Refused(f"pgbench {name} tells no rate: {output[-500:]}")
        return float(rate[1])

    def logged_p50_ms(self) -> float:
        """Of the transactions that were logged: client, number, microseconds, ..."""
        times = [int(line.split()[2]) for log in self._folder.glob("latency.*")
                 for line in log.read_text().splitlines()]
        return statistics.median(times) / 1000


def _run(command: list[str], folder: Path) -> str:
    """What it prints, if it ends well."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ended.returncode != 0:
        raise Refused(f"{Path(command[0]).name} failed: {ended.stderr.strip()[-1000:]}")
    return ended.stdout
