"""Bytes of every kind at what reads them. By mutation; guided by coverage with ATHERIS=target, where atheris is
installed.

python -m tests.fuzz --minutes 1: a line for each target; what broke one is written to tests/fuzz/corpus, and the status
is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import logging
import os
import random
import sys
import time
import traceback
from typing import Any

from .targets import CORPUS, TARGETS, seeds

SLOW_SECONDS = 2.0
TOKENS = (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n\n", b"data: ", b"event: ", b"\0", b"\xff", b"\xf0\x9f",
          b"\\ud83d", b"null", b"1e999", b"-", b"${", b"%", b"\x00\x00\x00\x01")  # fmt: skip


class Bugs(logging.Handler):
    """Exceptions that were caught and logged: a bug all the same."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.seen.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def mutated(chance: random.Random, texts: list[bytes]) -> bytes:
    data = bytearray(chance.choice(texts))
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        turn = chance.random()
        if turn < 0.3:
            data[at:at] = chance.choice(TOKENS) * chance.choice((1, 1, 2, 100))
        elif turn < 0.5:
            del data[at : at + chance.choice((1, 4, 50, 500))]
        elif turn < 0.7 and at < len(data):
            data[at] = chance.randrange(256)
        elif turn < 0.85:
            other = chance.choice(texts)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.choice((10, 200, 2000))]
        else:
            data[at:at] = data[at : at + chance.choice((4, 40, 400))] * chance.choice((1, 3, 30))
    return bytes(data[:200_000])


def fuzzed(name: str, seconds: float, seed: int) -> tuple[int, float, list[str]]:
    """How many inputs, the longest time for one, and what went wrong."""
    target, chance, texts = TARGETS[name], random.Random(seed), seeds()
    end, runs, longest, wrong = time.monotonic() + seconds, 0, 0.0, list[str]()
    pending = list(texts)
    bugs = Bugs()
    logging.getLogger("extproc").addHandler(bugs)
    while time.monotonic() < end and len(wrong) < 5:
        data = pending.pop() if pending else mutated(chance, texts)
        began = time.monotonic()
        try:
            target(data)
        except Exception:
            wrong.append(f"{kept(data)}: {traceback.format_exc(limit=-2)}")
        took = time.monotonic() - began
        if bugs.seen:
            wrong.append(f"{kept(data)}: {bugs.seen.pop()}")
            bugs.seen.clear()
        if took > SLOW_SECONDS:
            wrong.append(f"{kept(data)}: took {took:.1f} s")
        runs, longest = runs + 1, max(longest, took)
    logging.getLogger("extproc").removeHandler(bugs)
    return runs, longest, wrong


def kept(data: bytes) -> str:
    path = CORPUS / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return str(path)


def guided(name: str) -> None:
    """With atheris, until it is stopped."""
    atheris: Any = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], str(CORPUS)], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    if name := os.environ.get("ATHERIS"):
        guided(name)
    print(f"{'target':28} {'inputs':>8} {'longest':>9}  wrong   (--seed {args.seed})")
    bad: list[str] = []
    for name in TARGETS:
        runs, longest, wrong = fuzzed(name, args.minutes * 60 / len(TARGETS), args.seed)
        bad += wrong
        print(f"{name:28} {runs:8} {longest * 1000:6.0f} ms  {len(wrong)}", flush=True)
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
