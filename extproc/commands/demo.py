"""``extproc demo``: a tour through a real Envoy, without a key."""

from __future__ import annotations

import argparse

from .base import Command


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="end after the tour; status 0 only if every step was right")
    parser.set_defaults(run=_demo)


COMMAND = Command(
    "demo",
    "a tour of both directions through a real Envoy on this machine",
    arguments,
    ["extproc demo --once"],
    ["0 every step was right", "1 a step was wrong, or Envoy cannot be had", "130 ended by Ctrl-C"],
)


def _demo(args: argparse.Namespace) -> int:
    from ..demo import main as demo

    return demo(once=args.once)
