"""Where the sidecar's CPU goes: what each message of an exchange takes, and `extproc serve` under cProfile, while it is
loaded as in sidecar.py.

    python bench/hotspots.py [--transport h2|grpcio] [--lines 25]

cProfile makes calls of Python functions dearer than they are; what it is good for is the order.
"""

from __future__ import annotations

import argparse
import io
import pstats
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import machine
import payloads
import record
import replay
import sidecar
from extproc.demo.processes import Sidecar
from record import Step
from rig import TRANSPORTS, Rig

ROOT = Path(__file__).parent.parent
SECONDS = 3.0
STARTING = ("<built-in method marshal.loads>", "<built-in method builtins.compile>", "<built-in method run>")


class Profiled(Sidecar):
    """A sidecar that writes its profile when it ends."""

    grace = 30.0

    @property
    def result(self) -> Path:
        return self.folder / "profile"

    def command(self) -> Sequence[str]:
        own = [str(arg) for arg in super().command()]
        return [own[0], "-m", "cProfile", "-o", str(self.result), *own[1:]]


def profile(rig: Rig, transport: str, steps: Sequence[Step], seconds: float = SECONDS) -> pstats.Stats:
    """What the process did while it answered as many of these exchanges as it could."""
    # Of what is compiled it would see nothing.
    environ = {**payloads.KEYS, **machine.code(source=True)}
    server = Profiled(rig.folder(), environ=environ, arguments=["--transport", transport])
    with server:
        sidecar.on_its_core(server)
        with sidecar.connected(server) as client:
            replay.closed(client, steps, sidecar.IN_FLIGHT, seconds=seconds)
    return pstats.Stats(str(server.result))


def spent(rig: Rig, steps: Sequence[Step], *, rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds that answering each kind of message takes in an exchange of *steps*, without the transport around
    it, by the sidecar's own metrics: of all *rounds* the least."""
    server = sidecar.on_its_core(rig.sidecar("h2", arguments=["--admin", "127.0.0.1:0"]))
    least: dict[str, float] = {}
    with sidecar.connected(server) as client:
        replay.closed(client, steps, sidecar.IN_FLIGHT, exchanges=sidecar.IN_FLIGHT)
        for _ in range(rounds):
            before = _seconds(server)
            done, _ = replay.closed(client, steps, sidecar.IN_FLIGHT, seconds=seconds)
            for kind, after in _seconds(server).items():
                us = (after - before.get(kind, 0.0)) / done * 1e6
                if us > 0:
                    least[kind] = round(min(us, least.get(kind, us)), 1)
    server.stop()
    return least


def _seconds(server: Sidecar) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.admin}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        kind: float(told) for kind, told in re.findall(r'extproc_processing_seconds_total\{phase="(\w+)"\} (\S+)', text)
    }


def parts(stats: pstats.Stats) -> list[tuple[str, float]]:
    """The share of each part of the program in the time that was not spent waiting or starting, largest first."""
    seconds: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        part = _part(file, name)
        if part:
            seconds[part] += own
    total = sum(seconds.values())
    return [(part, own / total) for part, own in seconds.most_common()]


def _part(file: str, name: str) -> str:
    if "/extproc/" in file:
        inside = file.rpartition("/extproc/")[2].removesuffix(".py").split("/")
        return "extproc/" + "/".join(inside[:2])
    if "importlib" in file or "uvloop" in name or name in STARTING:
        return ""
    if "msgspec" in name:
        return "msgspec"
    if "upb" in name or "google" in name or "SerializeToString" in name or "FromString" in name:
        return "protobuf"
    return "built-in functions" if file == "~" else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=TRANSPORTS, default="h2")
    parser.add_argument("--lines", type=int, default=25)
    args = parser.parse_args()
    with Rig() as rig:
        scripts = record.record(rig, payloads.TO_OPENAI, sidecar.bodies(payloads.TO_OPENAI, large=False))
        asked = {
            "1 KB chat, whole, as shipped": scripts["1 KB chat"].steps(0),
            "200-event stream": scripts["stream"].steps(200),
        }
        for name, steps in asked.items():
            print(f"\n== {name}, us for each kind of message: {spent(rig, steps, rounds=3, seconds=1.0)}")
            stats = profile(rig, args.transport, steps)
            print(f"\n== {name}, {args.transport}")
            for part, share in parts(stats)[:12]:
                print(f"{share:6.1%}  {part}")
            out = io.StringIO()
            stats.stream = out  # type: ignore[attr-defined]
            stats.sort_stats("tottime").print_stats(args.lines)
            sys.stdout.write(out.getvalue().replace(str(ROOT) + "/", ""))


if __name__ == "__main__":
    main()
