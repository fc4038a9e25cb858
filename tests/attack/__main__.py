"""What clients and peers can do to the sidecar, each for some seconds: what it took, and what others felt meanwhile.
First through an Envoy with the shipped configuration, by clients: the same again with a sidecar that does nothing says
what others wait for by Envoy and by the clients themselves, on these cores. Then by peers, straight at the gRPC port.

python -m tests.attack [WORD ...]: those whose names hold a word; all without one. Status 1 if any went past its bound.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import attacks, through_envoy
from .attacks import MIB, Told

WIDTHS = (36, 8, 7, 12, 10, 11, 9, 9, 7, 12, 8, 7)
HEAD = (
    "attack", "seconds", "CPU s", "sidecar MiB", "Envoy MiB", "others p50", "p99", "max", "failed", "no-op's p99",
    "failed", "within",
)  # fmt: skip


def row(name: str, told: Told, noop: Told | None) -> tuple[str, ...]:
    times = (ms(told.quantile(share)) for share in (0.5, 0.99, 1.0))
    envoy = f"{told.envoys_peak_bytes / MIB:.0f}" if told.envoys_peak_bytes else ""
    sidecar = (f"{told.seconds:.1f}", f"{told.cpu_seconds:.1f}", f"{told.peak_bytes / MIB:.0f}")
    beside = (ms(noop.quantile(0.99)), str(noop.failed)) if noop is not None else ("", "")
    return (name, *sidecar, envoy, *times, str(told.failed), *beside, "yes" if told.is_within else "NO")


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


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
                    noop = through_envoy.carried_out(Path(folder), name, noop=True) if module is through_envoy else None
                    bad += not told.is_within
                    print(line(row(name, told, noop)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
