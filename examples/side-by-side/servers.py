"""Servers of this script's own: started in a folder, waited for, and ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from plan import Refused

READY_WAIT_MAX = 30.0
STOP_WAIT_MAX = 60.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def connected(port: int) -> socket.socket:
    """A connection, as soon as somebody listens there."""
    deadline = time.monotonic() + READY_WAIT_MAX
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=READY_WAIT_MAX)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise Refused(f"nobody listens on port {port} after {READY_WAIT_MAX:g} s") from None
            time.sleep(0.02)


def find(program: str, *folders: Path) -> str | None:
    """The program, in one of the folders or on the PATH."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    return shutil.which(program, path=path)


class Server:
    """A process that is ended with the block that it is used in."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(command, stdout=output, stderr=output)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_WAIT_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]
