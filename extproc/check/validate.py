"""What Envoy itself says of a bootstrap, where there is an Envoy: ``envoy --mode validate``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .rule import ERROR, Finding

_NOISE = re.compile(r"^\[[^\]]*\]\s*|^error initializing configuration '[^']*':\s*")
_ELSEWHERE = ("unable to read file", "No such file", "Invalid path", "Failed to load", "cannot open", "unable to open")
"""What only says that this machine is not the one where Envoy will run."""
SECONDS = 30.0
TROUBLE = "Envoy does not start with it, or rejects the update"


def by_envoy(file: Path, binary: Path) -> list[Finding]:
    """What the Envoy *binary* has against *file*; nothing if it takes it, gives no verdict in time, or
    only misses a file that this machine does not have."""
    command = [str(binary), "--mode", "validate", "--use-dynamic-base-id", "-l", "error", "-c", str(file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode == 0:
        return []
    said = _said(done.stderr) or f"it ended with status {done.returncode}"
    if any(word in said for word in _ELSEWHERE):
        return []
    return [Finding(str(file), 1, "", "envoy", ERROR, f"Envoy refuses it: {said}", TROUBLE, "what Envoy says")]


def _said(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    told = next((line for line in lines if "error initializing" in line or "[critical]" in line), "")
    told = told or (lines[-1] if lines else "")
    while (shorter := _NOISE.sub("", told)) != told:
        told = shorter
    return told.strip()[:500]
