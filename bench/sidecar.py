"""The sidecar alone, without Envoy, driven by what Envoy sends it: CPU per exchange and per event of a stream.

    python bench/sidecar.py [--transport h2|grpcio] [--rounds 3] [--seconds 1.0] [--quick]

Each exchange is recorded from a real Envoy with deploy/envoy.yaml when this starts, and then replayed on one connection
from another core. "As shipped" is all that Envoy sends for an exchange of a provider that stands alone: one stream (4
messages for a whole answer). "Two streams" is what it sends where providers fail over: a stream of the router (3
messages) and one of the translator (4); "translator" is the latter alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import machine
import payloads
import record
import replay
from extproc.demo.processes import Sidecar
from record import Script, Step
from rig import TRANSPORTS, TWO_STREAMS, Rig

IN_FLIGHT = 16
EVENTS = 200
SOURCE = "h2, source"
"""The transport h2 in a process that does not run compiled code."""
TRANSLATOR = 1
"""The slot of its stream in a recording."""
LARGEST = "20 MB image request"
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Something whose cost is measured. *less* is subtracted, the rest is for *events* events."""

    name: str
    steps: Sequence[Step]
    noop: bool = False
    less: Sequence[Step] = ()
    events: int = 1
    in_flight: int = IN_FLIGHT

    @property
    def unit(self) -> str:
        return "event" if self.less else "exchange"


def bodies(direction: payloads.Direction, *, large: bool) -> dict[str, bytes]:
    """The requests that are recorded."""
    model = direction.prefix
    made = {
        "1 KB chat": payloads.chat(direction.client, f"{model}-whole"),
        "stream": payloads.chat(direction.client, f"{model}-paced-{record.EVENTS}x50", stream=True),
    }
    if large:
        made["78 KB agent request"] = payloads.agent(f"{model}-whole")
        made["2 MB image request"] = payloads.image(f"{model}-whole")
        made[LARGEST] = payloads.image(f"{model}-whole", payloads.LARGE)
    return made


def cases(shipped: dict[str, Script], there: dict[str, Script], back: dict[str, Script]) -> Iterator[Case]:
    """*shipped*: an Anthropic client's exchanges with an OpenAI upstream; *there*: the same with two streams; *back*:
    the other way, with two streams."""
    chat = there["1 KB chat"]
    yield Case("no-op, 4 messages", chat.only(TRANSLATOR).steps(0), noop=True)
    yield _event_case("no-op, stream event", there["stream"], noop=True)
    yield Case("1 KB chat, whole, translator", chat.only(TRANSLATOR).steps(0))
    yield Case("1 KB chat, whole, as shipped", shipped["1 KB chat"].steps(0))
    yield Case("1 KB chat, whole, two streams", chat.steps(0))
    yield Case("1 KB chat, whole, translator, OpenAI client", back["1 KB chat"].only(TRANSLATOR).steps(0))
    yield _event_case("stream event", there["stream"])
    yield _event_case("stream event, OpenAI client", back["stream"])
    for name, script in shipped.items():
        if name.endswith("request"):
            # More than one would be refused: the bytes of all are bounded.
            yield Case(f"{name}, as shipped", script.steps(0), in_flight=1 if name == LARGEST else IN_FLIGHT)


def _event_case(name: str, script: Script, noop: bool = False) -> Case:
    """What one more event costs: a stream with many, less one with hardly any."""
    alone = script.only(TRANSLATOR)
    return Case(name, alone.steps(EVENTS), noop, alone.steps(0), EVENTS)


@contextmanager
def connected(sidecar: Sidecar) -> Iterator[replay.Client]:
    client = replay.Client(sidecar.address)
    try:
        yield client
    finally:
        client.close()


def on_its_core(sidecar: Sidecar) -> Sidecar:
    """The sidecar has a core for itself; this process takes the other one."""
    machine.pin(sidecar.pid, machine.SERVER_CORE)
    machine.pin(os.getpid(), machine.CLIENT_CORE)
    return sidecar


def cost(sidecar: Sidecar, case: Case, seconds: float) -> tuple[float, float]:
    """(CPU microseconds per unit of *case*, exchanges per second)."""
    with connected(sidecar) as client:
        replay.closed(client, case.steps, case.in_flight, exchanges=case.in_flight)

        def measured(steps: Sequence[Step], seconds: float) -> tuple[float, float]:
            before = machine.cpu_seconds(sidecar.pid)
            done, took = replay.closed(client, steps, case.in_flight, seconds=seconds)
            return (machine.cpu_seconds(sidecar.pid) - before) / done * 1e6, done / took

        whole, rate = measured(case.steps, seconds)
        if not case.less:
            return whole, rate
        return (whole - measured(case.less, seconds / 2)[0]) / case.events, rate * case.events


def costs(
    rig: Rig,
    *,
    transports: Sequence[str] = TRANSPORTS,
    rounds: int,
    seconds: float,
    large: bool = True,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """CPU per exchange and per event on each transport; the rounds go through all in turn."""
    shipped = record.record(rig, payloads.TO_OPENAI, bodies(payloads.TO_OPENAI, large=large))
    there = record.record(rig, payloads.TO_OPENAI, bodies(payloads.TO_OPENAI, large=False), TWO_STREAMS)
    back = record.record(rig, payloads.TO_ANTHROPIC, bodies(payloads.TO_ANTHROPIC, large=False), TWO_STREAMS)
    everything = list(cases(shipped, there, back))
    builds = {transport: transport for transport in transports}
    if "h2" in builds and machine.is_compiled():
        builds[SOURCE] = "h2"
    servers = {
        (label, noop): on_its_core(rig.sidecar(transport, noop=noop, source=label == SOURCE))
        for label, transport in builds.items()
        for noop in (True, False)
    }
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(rounds):
        say(f"the sidecar alone: round {number + 1} of {rounds}, {len(everything)} cases")
        for case in everything:
            for label in builds:
                measured = cost(servers[label, case.noop], case, seconds)
                seen.setdefault((case.name, label), []).append(measured)
    units = {case.name: case.unit for case in everything}
    return [_row(name, transport, units[name], values) for (name, transport), values in seen.items()]


def _row(name: str, transport: str, unit: str, values: list[tuple[float, float]]) -> Row:
    us, rates = zip(*values, strict=True)
    return {
        "case": name,
        "transport": transport,
        "unit": unit,
        "cpu_us": round(statistics.median(us), 1),
        "cpu_us_least": round(min(us), 1),
        "cpu_us_most": round(max(us), 1),
        "per_second": round(statistics.median(rates)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=TRANSPORTS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true", help="no large requests, one short round")
    args = parser.parse_args()
    rounds, seconds = (1, 0.3) if args.quick else (args.rounds, args.seconds)
    print(machine.line(machine.describe()), flush=True)
    with Rig() as rig:
        transports = args.transport or TRANSPORTS
        rows = costs(rig, transports=transports, rounds=rounds, seconds=seconds, large=not args.quick)
    print(f"\nCPU of the sidecar's process, one core, {IN_FLIGHT} in flight (one of 20 MB); medians (least-most)")
    for row in rows:
        spread = f"({row['cpu_us_least']:.0f}-{row['cpu_us_most']:.0f})"
        print(
            f"{row['case']:45} {row['transport']:10} {row['cpu_us']:9.1f} us per {row['unit']:8} {spread:16} "
            f"{row['per_second']:7}/s"
        )


if __name__ == "__main__":
    main()
