"""Bytes of every kind at what reads them: by mutation, or where atheris is installed and there is time, guided by
coverage.

python -m tests.fuzz --minutes 1: a line for each target; what broke one is written to tests/fuzz/corpus, and the status
is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import logging
import random
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path

from .targets import CORPUS, TARGETS, Bugs, seeds, slug

CACHE = Path(".cache/fuzz")
SLOW_SECONDS = 2.0
GUIDED_SECONDS = 10.0
"""Of a target, from which it is worth while to have it guided: to begin with that takes as long."""
TOKENS = (b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n\n", b"data: ", b"event: ", b"\0", b"\xff", b"\xf0\x9f",
          b"\\ud83d", b"null", b"1e999", b"-", b"${", b"%", b"\x00\x00\x00\x01")  # fmt: skip


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
    """How many inputs, the longest time for one (of the CPU: others may be at work), and what went wrong."""
    target, chance, texts = TARGETS[name], random.Random(seed), seeds()
    end, runs, longest, wrong = time.monotonic() + seconds, 0, 0.0, list[str]()
    pending = list(texts)
    bugs = Bugs()
    logging.getLogger("extproc").addHandler(bugs)
    while time.monotonic() < end and len(wrong) < 5:
        data = pending.pop() if pending else mutated(chance, texts)
        began = time.thread_time()
        try:
            target(data)
        except Exception:
            wrong.append(f"{kept(data)}: {traceback.format_exc(limit=-2)}")
        took = time.thread_time() - began
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


def in_a_process(name: str, seconds: float) -> tuple[int, float, list[str]]:
    """The same as ``fuzzed``, guided by coverage. What it learns of a target stays in ``.cache/fuzz`` for the next."""
    folder = CACHE / slug(name)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(seconds), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counted = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    slowest = re.search(r"stat::slowest_unit_time_sec:\s+(\d+)", done.stderr)
    wrong = [] if done.returncode == 0 else [done.stderr[-3000:]]
    return int(counted[1]) if counted else 0, float(slowest[1]) if slowest else 0.0, wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="", help="targets whose names hold this word")
    args = parser.parse_args()
    wanted = [name for name in TARGETS if args.only in name]
    seconds = args.minutes * 60 / max(1, len(wanted))
    is_guided = seconds >= GUIDED_SECONDS and importlib.util.find_spec("atheris") is not None
    by = "by coverage" if is_guided else f"--seed {args.seed}"
    print(f"{'target':48} {'inputs':>8} {'longest':>9}  wrong   ({by})")
    bad: list[str] = []
    for name in wanted:
        runs, longest, wrong = in_a_process(name, seconds) if is_guided else fuzzed(name, seconds, args.seed)
        bad += wrong
        print(f"{name:48} {runs:8} {longest * 1000:6.0f} ms  {len(wrong)}", flush=True)
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
