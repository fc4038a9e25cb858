"""``extproc version``: what runs here, for a report about it."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import platform
import subprocess
import sys

from ..version import version
from .base import Command, table

PARTS = {
    "fast": "uvloop", "grpcio": "grpc", "gcp": "google.auth", "aws": "botocore", "policies": "aiohttp",
    "check": "envoy_data_plane",
}  # fmt: skip
"""An extra of the distribution, and a module that is there where it is installed."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--short", action="store_true", help="the number alone")
    parser.set_defaults(run=_version)


COMMAND = Command(
    "version", "the version of this program, of Python and of Envoy", arguments, ["extproc version"], ["0 always"]
)


def envoy() -> str:
    """Envoy's version, or the line that installs one."""
    from ..demo.processes import envoy_binary

    try:
        said = subprocess.run(
            [str(envoy_binary()), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    # envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL
    parts = said.stdout.strip().rpartition(" ")[2].split("/")
    return parts[1] if len(parts) > 1 else said.stdout.strip() or "unknown"


def _has(module: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


def _version(args: argparse.Namespace) -> int:
    if args.short:
        print(version())
        return 0
    from ..exchange import machine

    extras = [name for name, module in PARTS.items() if _has(module)]
    print(table([
        ["extproc", version()],
        ["compiled", "yes" if not str(machine.__file__).endswith(".py") else "no"],
        ["extras", ", ".join(extras) or "none"],
        ["python", f"{platform.python_version()} ({sys.executable})"],
        ["envoy", envoy()],
        ["system", platform.platform()],
    ]))  # fmt: skip
    return 0
