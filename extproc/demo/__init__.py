"""The demo: a real Envoy, the sidecar and a scripted provider on this machine, and a tour through both directions."""

from __future__ import annotations

__all__ = ["main"]


def main(*, once: bool = False) -> int:
    """Run the tour; then, unless *once*, leave all running until Ctrl-C. 0 if every step was right, else 1."""
    from .run import run

    return run(once=once)
