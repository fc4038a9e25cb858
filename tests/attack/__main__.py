"""What clients and peers can do to the sidecar, each for some seconds: what it took, and what others felt meanwhile.

python -m tests.attack [WORD ...]: those whose names hold a word; all without one. Status 1 if any went past its bound.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .attacks import ATTACKS, MIB, carried_out


def main(words: list[str]) -> int:
    wanted = [name for name in ATTACKS if not words or any(word in name for word in words)]
    print(f"{'attack':32} {'seconds':>8} {'peak MiB':>9} {'others p50':>11} {'others max':>11}  within bounds")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            told = carried_out(Path(folder), name)
            bad += not told.is_within
            print(
                f"{name:32} {told.seconds:8.1f} {told.peak_bytes / MIB:9.0f} {told.median * 1000:8.1f} ms "
                f"{told.slowest * 1000:8.1f} ms  {'yes' if told.is_within else 'NO'}",
                flush=True,
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
