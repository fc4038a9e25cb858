"""Runs the soak: one line a minute, a summary, and status 1 if anything was seen that must never be.

python -m tests.soak --minutes 30 --rate 25 --transport h2
"""

from __future__ import annotations

import argparse
import sys

from .soak import Soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=25.0, help="exchanges a second")
    parser.add_argument("--clients", type=int, default=48, help="exchanges at once, at most")
    parser.add_argument("--transport", default="h2")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    soak = Soak(args.transport, args.minutes * 60, rate=args.rate, clients=args.clients, seed=args.seed)
    soak.run()
    print(soak.summary(), flush=True)
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
