"""``extproc launch`` and ``extproc env``: what points a client at a gateway."""

from __future__ import annotations

from .clients import CLIENTS, Pointed, pointed

__all__ = ["CLIENTS", "Pointed", "pointed"]
