"""What a gateway under load does when all that is around it fails: a table, and status 1 if anything was lost or
counted twice.

python -m tests.chaos [--seconds 20] [WORD ...]: the rows whose names hold a word; all without one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from .rig import Rig
from .rows import HEAD, KAFKA, ROWS, Told, carried_out, kafka_row, line


def shown(told: Told) -> int:
    """Print a row, and what is wrong with it; 1 if anything is."""
    print(line(told.cells()), flush=True)
    for what in (*told.lost[:5], *told.doubled[:5]):
        print(f"    {what}", flush=True)
    return 0 if told.is_good else 1


async def run(folder: Path, seconds: float, words: list[str]) -> int:
    """The rows, one after the other; how many are bad."""
    bad = 0
    rows = [row for row in ROWS if not words or any(word in row.name for word in words)]
    if rows:
        rig = Rig(folder)
        await rig.start()
        try:
            for row in rows:
                bad += shown(await carried_out(rig, row, seconds))
        finally:
            await rig.stop()
    if not words or any(word in KAFKA for word in words):
        told, why = await kafka_row(folder / "k", seconds)
        if told is None:
            print(f"{KAFKA}: left out, {why}")
        else:
            bad += shown(told)
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load in each row")
    args = parser.parse_args()
    print(line(HEAD))
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        return 1 if asyncio.run(run(Path(folder), args.seconds, args.words)) else 0


if __name__ == "__main__":
    sys.exit(main())
