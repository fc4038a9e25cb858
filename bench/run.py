"""Measures everything, side by side in one run, and writes bench/results.json.

    make bench            about 12 minutes; QUICK=1 make bench: about one, which proves that it runs and nothing else
    python bench/run.py [--quick] [--rounds 3] [--only sidecar,held,requests,paced,beside,hotspots] [--out FILE]

Rounds are interleaved: each goes through everything that is compared. An answer that is wrong ends the run with a
message: there is no figure for what does not work.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import envoys
import held
import hotspots
import machine
import payloads
import record
import report
import sidecar
from extproc.demo.processes import NotStarted
from rig import TRANSPORTS, Rig

RESULTS = Path(__file__).with_name("results.json")
BUSY = 0.5
"""The load average from which others are seen to work here."""
PARTS = ("sidecar", "held", "requests", "paced", "beside", "hotspots")


class Plan:
    """How much of everything."""

    def __init__(self, quick: bool, rounds: int) -> None:
        self.quick = quick
        self.rounds = 1 if quick else rounds
        self.few = 1 if quick else max(1, rounds - 1)
        self.sidecar_seconds = 0.15 if quick else 0.8
        self.request_seconds = 0.2 if quick else 1.2
        self.held_seconds = 0.5 if quick else 3.0
        self.paced_seconds = 0.5 if quick else 3.0
        self.held_steps = (8, 16) if quick else held.LADDER
        self.paced_steps = (8, 16) if quick else envoys.LADDER
        self.beside_seconds = 1.0 if quick else 6.0
        self.beside_ways = ("full h2",) if quick else ("Envoy alone", "no-op h2, two streams", "full h2", "full grpcio")
        self.beside = 8 if quick else held.BESIDE
        self.beside_hanging = (8, 3) if quick else (held.BESIDE_HANGING, held.HANGING)
        self.open_streams = 50 if quick else 2000
        self.exchanges = {"h2": 500, "grpcio": 100} if quick else {"h2": 100_000, "grpcio": 20_000}
        self.hotspot_seconds = 0.3 if quick else 3.0


def measure(plan: Plan, only: set[str]) -> dict[str, Any]:
    """The figures of each part in *only*. Raises Wrong."""
    made: dict[str, Any] = {}
    with Rig() as rig:
        if "sidecar" in only:
            made["sidecar"] = sidecar.costs(
                rig, rounds=plan.rounds, seconds=plan.sidecar_seconds, large=not plan.quick, say=say
            )
    if "held" in only:
        with Rig() as rig:
            made |= _held(rig, plan)
    if only & {"requests", "paced"}:
        machine.unpin()
        with Rig() as rig:
            made |= _envoys(rig, plan, only)
    if "beside" in only:
        with Rig() as rig:
            made["beside"] = _beside(rig, plan)
        machine.unpin()
        with Rig() as rig:
            made["beside_envoy"] = _beside_envoy(rig, plan)
    if "hotspots" in only:
        with Rig() as rig:
            made["hotspots"] = _hotspots(rig, plan)
        with Rig() as rig:
            made["spent"] = _spent(rig, plan)
    return made


def _held(rig: Rig, plan: Plan) -> dict[str, Any]:
    scripts = held.scripts(rig)
    made: dict[str, Any] = {}
    made["held"] = held.ladder(
        rig,
        scripts["stream"],
        TRANSPORTS,
        rounds=plan.few,
        seconds=plan.held_seconds,
        say=say,
        steps=plan.held_steps,
    )
    made["beside_hanging"] = []
    for transport in TRANSPORTS:
        row = held.beside_hanging(rig, scripts, transport, plan.beside_seconds, *plan.beside_hanging)
        say(f"a policy's service that hangs beside {row['streams']} streams, the sidecar alone, {transport}: p99 delay "
            f"{row['delay_p99_ms_without']} -> {row['delay_p99_ms_with']} ms")  # fmt: skip
        made["beside_hanging"].append(row)
    made["memory"] = [
        held.memory(rig, scripts, transport, streams=plan.open_streams, exchanges=plan.exchanges[transport], say=say)
        for transport in TRANSPORTS
    ]
    return made


def _envoys(rig: Rig, plan: Plan, only: set[str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    through = envoys.ways(rig)
    if "requests" in only:
        asked = [each for each in envoys.scenarios() if not plan.quick or len(each.body) < 10_000]
        made["requests"] = envoys.requests(
            rig, through, asked, rounds=plan.rounds, seconds=plan.request_seconds, say=say
        )
    if "paced" in only:
        made["paced"] = envoys.paced(
            rig, through, rounds=1, seconds=plan.paced_seconds, say=say, steps=plan.paced_steps
        )
    return made


def _beside(rig: Rig, plan: Plan) -> list[dict[str, Any]]:
    scripts = held.scripts(rig)
    made = []
    for transport, alone in (("h2", False), ("h2", True), ("grpcio", False)):
        row = held.beside_large(rig, scripts, transport, plan.beside_seconds, plan.beside, alone=alone)
        say(f"20 MB a second beside {plan.beside} streams, the sidecar alone, {row['transport']}: p99 delay "
            f"{row['delay_p99_ms_without']} -> {row['delay_p99_ms_with']} ms")  # fmt: skip
        made.append(row)
    return made


def _beside_envoy(rig: Rig, plan: Plan) -> list[dict[str, Any]]:
    made = []
    for way in (*(way for way in envoys.ways(rig) if way.name in plan.beside_ways), envoys.way_of_one_process(rig)):
        row = envoys.beside_large(rig, way, plan.beside_seconds, plan.beside)
        say(f"20 MB a second beside {plan.beside} streams, {way.name}: p99 of the gap over the period "
            f"{row['added_p99_ms_without']} -> {row['added_p99_ms_with']} ms")  # fmt: skip
        made.append(row)
    return made


def _hotspots(rig: Rig, plan: Plan) -> dict[str, Any]:
    to = payloads.TO_OPENAI
    scripts = record.record(rig, to, sidecar.bodies(to, large=False))
    asked = {
        "1 KB chat, whole, as shipped": scripts["1 KB chat"].steps(0),
        "stream event": scripts["stream"].steps(sidecar.EVENTS),
    }
    made = {}
    for name, steps in asked.items():
        say(f"profile: {name}")
        shares = hotspots.parts(hotspots.profile(rig, "h2", steps, plan.hotspot_seconds))
        made[name] = [[part, round(share, 3)] for part, share in shares[:10]]
    return made


def _spent(rig: Rig, plan: Plan) -> dict[str, Any]:
    to = payloads.TO_OPENAI
    bodies = sidecar.bodies(to, large=not plan.quick)
    # Of several at once some are refused; and another process, which has numbers of its own, answers them.
    bodies.pop(sidecar.LARGEST, None)
    scripts = record.record(rig, to, bodies)
    made = {}
    for name, script in scripts.items():
        steps = script.steps(sidecar.EVENTS if name == "stream" else 0)
        named = f"{sidecar.EVENTS}-event stream" if name == "stream" else name
        made[named] = hotspots.spent(rig, steps, rounds=plan.rounds, seconds=plan.sidecar_seconds)
        say(f"what each message takes: {named}: {made[named]}")
    return made


BEGAN = time.monotonic()


def say(text: str) -> None:
    """Progress."""
    minutes, seconds = divmod(int(time.monotonic() - BEGAN), 60)
    print(f"[{minutes}:{seconds:02}] {text}", flush=True)


def keep(path: Path, made: dict[str, Any]) -> dict[str, Any]:
    """Write *made* over what stands in *path*; what was not measured this time stays."""
    before: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    after = {**before, **made}
    path.write_text(json.dumps(after, indent=1) + "\n", "utf-8")
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    only = set(args.only.split(","))
    if unknown := only - set(PARTS):
        parser.error(f"unknown: {', '.join(unknown)}")
    # A connection for each stream on both sides of Envoy.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    described = machine.describe()
    print(machine.line(described), flush=True)
    if described["load_before"] > BUSY:
        print(f"This machine is not idle (load {described['load_before']}): the figures will say so.", flush=True)
    try:
        made = measure(Plan(args.quick, args.rounds), only)
    except (machine.Wrong, NotStarted, OSError) as error:
        sys.exit(f"bench: {error}")
    described["minutes"] = round((time.monotonic() - BEGAN) / 60, 1)
    results = keep(args.out, {"machine": described, "quick": args.quick, **made})
    print("\n" + report.text(results))
    say(f"wrote {args.out}; python bench/report.py writes docs/benchmarks.md from it")


if __name__ == "__main__":
    main()
