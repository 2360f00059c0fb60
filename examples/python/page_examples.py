"""Whether the worked examples of the protocol pages are what processes say: read by `check.py`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r" *\d+  ((?:[0-9a-f]{2} ?){1,16})(?: |$)")
CODE = re.compile(r"\| (\d+) \| `(\w+)` \| (no|unknown) \| (yes)? *\|")


def dumps(page: str) -> dict[str, bytes]:
    """The dumps of a page by the line above each, up to its first colon."""
    found: dict[str, bytes] = {}
    title = ""
    for line in (ROOT / page).read_text().splitlines():
        if row := ROW.match(line):
            found[title] = found.get(title, b"") + bytes.fromhex(row[1])
        else:
            title = line.partition(":")[0]
    return found


def codes() -> list[tuple[int, str, bool, bool]]:
    """Number, name, whether the outcome is unknown, and whether to try again."""
    rows = CODE.finditer((ROOT / "broker/PROTOCOL.md").read_text())
    return [(int(row[1]), row[2], row[3] == "unknown", row[4] == "yes") for row in rows]


def masked(frame: bytes, *places: slice) -> bytes:
    """A frame with zeros where each run has something else."""
    copy = bytearray(frame)
    for place in places:
        copy[place] = bytes(len(copy[place]))
    return bytes(copy)
