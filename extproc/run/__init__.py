"""``extproc run``: a gateway on this machine, of what is found here or of ``extproc.yaml``."""

from __future__ import annotations

__all__: list[str] = []
