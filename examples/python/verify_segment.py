"""Checks segment files of a log, from `store/FORMAT.md` alone: python3 verify_segment.py FILE...

Exit code 0 if every byte is as it should be, 1 with the place where one is not. In the last segment
of a log that was not closed, bad bytes behind the last append may be a torn tail, and no damage.
"""

import sys
from hashlib import sha1
from itertools import accumulate
from pathlib import Path
from struct import unpack, unpack_from
from zlib import crc32

HEADER, FOOTER, RECORD = 4096, 128, 120


def block(raw: memoryview, magic: bytes) -> bool:
    """Whether these bytes are a whole block of this kind."""
    return raw[:8] == magic and crc32(raw[:-4]) == unpack("<I", raw[-4:])[0]


def record_fault(raw: memoryview, chain: bytes, sequence: int) -> str | None:
    """What is wrong with a record that has to follow this chain."""
    length, header_crc, body_crc = unpack_from("<3I", bytes(raw[:12]).ljust(12, b"\0"))
    if length < RECORD or crc32(raw[8:120], crc32(raw[:4])) != header_crc:
        return "checksum of the record's header"
    if len(raw) < length or crc32(raw[120:length]) != body_crc:
        return "checksum of the record's body"
    if unpack_from("<Q", raw, 24)[0] != sequence:
        return "sequence"
    if sha1(chain + raw[12:104]).digest()[:16] != raw[104:120]:
        return "chain"
    sizes = unpack_from("<2H2I", raw, 72)
    starts = accumulate(sizes, initial=RECORD)
    parts = (size.to_bytes(4, "little") + raw[at:at + size] for at, size in zip(starts, sizes))
    signed = sha1(bytes(raw[56:72]) + raw[14:15] + b"".join(parts)).digest()
    return None if signed == raw[84:104] else "signature"


def check(raw: memoryview) -> str:
    """What the segment holds; `ValueError` with the place of the first fault."""
    if len(raw) < HEADER or not block(raw[:HEADER], b"SLOGSEGM"):
        raise ValueError("offset 0: header")
    if len(raw) != unpack_from("<I", raw, 64)[0]:
        raise ValueError(f"offset {len(raw)}: end of the file")
    first, chain = unpack_from("<Q", raw, 32)[0], bytes(raw[48:64])
    sealed = any(raw[-FOOTER:])
    footer, at, sequence, starts, whole = raw[-FOOTER:], HEADER, first, [], True
    if sealed and not block(footer, b"SLOGFOOT"):
        raise ValueError(f"offset {len(raw) - FOOTER}: footer")
    end = unpack_from("<I", footer, 52)[0] if sealed else len(raw)
    while at < end and (sealed or any(raw[at:at + RECORD])):
        if fault := record_fault(raw[at:end], chain, sequence):
            raise ValueError(f"offset {at}, sequence {sequence}: {fault}")
        if (sequence - first) % 64 == 0:
            starts.append(at.to_bytes(4, "little"))
        whole, chain, sequence = raw[at + 13] & 1 == 1, bytes(raw[at + 104:at + 120]), sequence + 1
        at += unpack_from("<I", raw, at)[0]
    table = b"".join(starts) if sealed else b""
    expected = bytes(raw[16:40]) + (sequence - 1).to_bytes(8, "little") + (
        sequence - first).to_bytes(4, "little") + at.to_bytes(4, "little") + chain
    if sealed and (footer[16:72] != expected or unpack_from("<I", footer, 88)[0] != crc32(table)):
        raise ValueError(f"offset {len(raw) - FOOTER}: footer of other records")
    if not whole:
        raise ValueError(f"offset {at}: the last append lacks its end")
    tail = table + footer if sealed else b""
    rest = bytes(len(raw) - at - len(tail)) + tail
    if raw[at:] != rest:
        place = next(i for i, byte in enumerate(raw[at:], at) if byte != rest[i - at])
        raise ValueError(f"offset {place}: neither zeros nor the table of offsets")
    return f"records {first} to {sequence - 1}, {'sealed' if sealed else 'open'}"


def main() -> int:
    """One line for each file."""
    damaged = 0
    for path in sys.argv[1:]:
        try:
            print(f"{path}: {check(memoryview(Path(path).read_bytes()))}")
        except ValueError as fault:
            print(f"{path}: damaged at {fault}")
            damaged = 1
    return damaged


if __name__ == "__main__":
    sys.exit(main())
