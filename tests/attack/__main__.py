"""What clients and peers can do to the sidecar, each for some seconds: what it took, and what others felt meanwhile.
First through an Envoy with the shipped configuration, by clients; then by peers, straight at the gRPC port.

python -m tests.attack [WORD ...]: those whose names hold a word; all without one. Status 1 if any went past its bound.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import attacks, through_envoy
from .attacks import MIB, Told

WIDTHS = (36, 8, 7, 12, 10, 11, 11, 11, 8, 8)
HEAD = ("attack", "seconds", "CPU s", "sidecar MiB", "Envoy MiB", "others p50", "p99", "max", "failed", "within")


def row(name: str, told: Told) -> tuple[str, ...]:
    times = (f"{told.quantile(share) * 1000:.0f} ms" for share in (0.5, 0.99, 1.0))
    envoy = f"{told.envoys_peak_bytes / MIB:.0f}" if told.envoys_peak_bytes else ""
    sidecar = (f"{told.seconds:.1f}", f"{told.cpu_seconds:.1f}", f"{told.peak_bytes / MIB:.0f}")
    return (name, *sidecar, envoy, *times, str(told.failed), "yes" if told.is_within else "NO")


def line(cells: tuple[str, ...]) -> str:
    first, *others = (cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return "".join([first.strip().ljust(WIDTHS[0]), *others])


def main(words: list[str]) -> int:
    print(line(HEAD))
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for module in (through_envoy, attacks):
            for name in module.ATTACKS:
                if not words or any(word in name for word in words):
                    told = module.carried_out(Path(folder), name)
                    bad += not told.is_within
                    print(line(row(name, told)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
