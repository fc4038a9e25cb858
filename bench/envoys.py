"""Through a real Envoy with deploy/envoy.yaml: alone, with a sidecar that does nothing, with one that translates.

The load generator, Envoy (one worker), the mock provider and the sidecar share all cores of the machine, as they would:
"direct" (the generator against the provider) is what the two ends can do by themselves.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aigw
import machine
import payloads
from extproc.demo.processes import Envoy, Process
from held import ALONE, ONE_PROCESS, RATE, Row, Say
from load import Generator, Spec
from machine import Wrong
from rig import MODEL_HEADER, SHIPPED, TRANSPORTS, TWO_STREAMS, WITHOUT_ROUTER, Rig

TO = payloads.TO_OPENAI
SATURATED = 8
"""Connections."""
LADDER = (64, 250, 500, 1000, 1500, 2000)
GAP_BOUND_MS = 5.0
HOPELESS_MS = 100.0
"""Beyond this, more streams are not tried."""
SHARE = 0.98
"""Of the events that a paced run should see: with fewer the streams did not keep their pace."""


@dataclass(frozen=True)
class Scenario:
    """A request and what its answer is."""

    name: str
    body: bytes
    stream: bool = False


def scenarios() -> list[Scenario]:
    return [
        Scenario("1 KB chat", payloads.chat(TO.client, "gpt-whole")),
        Scenario("78 KB agent request", payloads.agent("gpt-whole")),
        Scenario("2 MB image request", payloads.image("gpt-whole")),
        Scenario("200-event stream", payloads.chat(TO.client, "gpt-burst-200", stream=True), stream=True),
    ]


class Way:
    """One way from the load generator to the provider."""

    def __init__(
        self,
        name: str,
        port: int,
        envoy: Envoy | None = None,
        sidecar: Process | None = None,
        *,
        layout: str = "",
        translates: bool = False,
    ) -> None:
        self.name = name
        self.router = layout in (SHIPPED, TWO_STREAMS)
        self.port = port
        self.envoy = envoy
        self.sidecar = sidecar
        self.translates = translates

    def spec(self, body: Path, *, stream: bool, **more: Any) -> Spec:
        """A load that takes this way."""
        api = TO.client if self.translates else TO.upstream
        headers = {"authorization": "Bearer the-clients"}
        if not (self.translates and self.router):
            # Nobody else says it.
            headers[MODEL_HEADER] = "gpt-bench"
        complete = payloads.complete(api, stream).decode()
        return Spec(port=self.port, path=api, body=str(body), complete=complete, headers=headers, **more)

    def used(self) -> dict[str, float]:
        """CPU seconds so far."""
        both = {"sidecar": self.sidecar, "envoy": self.envoy}
        return {name: machine.cpu_seconds(process.pid) for name, process in both.items() if process is not None}


ONE_NOOP = f"no-op h2, {WITHOUT_ROUTER}"
"""The way with one stream whose sidecar does nothing: what any sidecar costs."""


def ways(rig: Rig, transports: Sequence[str] = TRANSPORTS) -> list[Way]:
    """All that are compared, running."""
    alone = rig.envoy(None)
    made = [Way("direct", rig.provider().port), Way("Envoy alone", alone.port, alone)]
    for transport in transports:
        # What chooses a route by what it has read can not be left out, and the no-op reads nothing.
        made += [_way(rig, transport, "no-op", TWO_STREAMS), _way(rig, transport, "no-op", WITHOUT_ROUTER)]
        made.append(_way(rig, transport, "full", SHIPPED))
    if "h2" in transports:
        made += [_way(rig, "h2", "full", TWO_STREAMS), _way(rig, "h2", "full", WITHOUT_ROUTER)]
    return made


def way_of_one_process(rig: Rig) -> Way:
    """As shipped, but that no second process has long requests."""
    sidecar = rig.sidecar("h2", arguments=ALONE)
    envoy = rig.envoy(sidecar)
    return Way(f"full h2, {ONE_PROCESS}", envoy.port, envoy, sidecar, layout=SHIPPED, translates=True)


def _way(rig: Rig, transport: str, work: str, layout: str) -> Way:
    sidecar = rig.sidecar(transport, noop=work == "no-op")
    envoy = rig.envoy(sidecar, layout=layout)
    name = f"{work} {transport}" if layout == SHIPPED else f"{work} {transport}, {layout}"
    return Way(name, envoy.port, envoy, sidecar, layout=layout, translates=work == "full")


def way_of_aigw(rig: Rig, program: Path) -> tuple[Way, str]:
    """Envoy AI Gateway's external processor behind an Envoy of its own, and its version."""
    processor, envoy = aigw.started(rig, program)
    return Way(aigw.NAME, envoy.port, envoy, processor, layout=TWO_STREAMS, translates=True), processor.version


def loaded(way: Way, spec: Spec) -> dict[str, Any]:
    """The figures of one load, with the CPU per exchange of those on the way. Raises Wrong."""
    before = way.used()
    try:
        figures = Generator(spec).result()
    except Wrong as error:
        raise Wrong(f"{way.name}: {error}") from None
    for name, seconds in way.used().items():
        if "all" in figures:
            figures[f"{name}_us"] = round((seconds - before[name]) / figures["all"] * 1e6, 1)
    return figures


def requests(
    rig: Rig, through: Sequence[Way], asked: Sequence[Scenario], *, rounds: int, seconds: float, say: Say
) -> list[Row]:
    """Each scenario on each way, at saturation and on one connection; rounds go through all in turn."""
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    files = {each.name: body_file(rig, each.body) for each in asked}
    for number in range(rounds):
        for each in asked:
            single: dict[str, dict[str, Any]] = {}
            for way in through:
                file = files[each.name]
                many = loaded(way, way.spec(file, stream=each.stream, connections=SATURATED, seconds=seconds))
                one = single[way.name] = loaded(way, way.spec(file, stream=each.stream, seconds=seconds * 0.8))
                row = {"per_second": many["per_second"], **{k: v for k, v in many.items() if k.endswith("_us")}}
                row |= {name: one[name] for name in ("p50_ms", "p99_ms")}
                row |= {name: one[name] for name in ("first_p50_ms", "first_p99_ms") if name in one}
                if "Envoy alone" in single and way.name not in ("direct", "Envoy alone"):
                    alone = single["Envoy alone"]
                    row |= {f"added_{name}": one[name] - alone[name] for name in ("p50_ms", "p99_ms")}
                seen.setdefault((each.name, way.name), []).append(row)
            rates = ", ".join(f"{way.name} {seen[each.name, way.name][-1]['per_second']:.0f}" for way in through)
            say(f"through Envoy, round {number + 1} of {rounds}: {each.name}, exchanges/s: {rates}")
    return [{"scenario": name, "way": way, **_spread(rows)} for (name, way), rows in seen.items()]


def _spread(rows: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        made[name] = round(statistics.median(values), 3)
        made[f"{name}_least"], made[f"{name}_most"] = round(min(values), 3), round(max(values), 3)
    return made


def paced(
    rig: Rig, through: Sequence[Way], *, rounds: int, seconds: float, say: Say, steps: Sequence[int] = LADDER
) -> list[Row]:
    """More and more paced streams on each way, until their pace is lost."""
    seen: dict[tuple[str, int], list[dict[str, Any]]] = {}
    failed: dict[tuple[str, int], str] = {}
    for number in range(rounds):
        for way in through:
            for streams in steps:
                try:
                    row = _paced(rig, way, streams, seconds)
                except Wrong as error:
                    if streams == steps[0]:
                        raise
                    # Too much for this machine: that is a result, and no figure.
                    say(f"paced streams, {way.name}: {streams} streams failed: {error}")
                    failed[way.name, streams] = str(error)
                    break
                seen.setdefault((way.name, streams), []).append(row)
                say(
                    f"paced streams, round {number + 1} of {rounds}, {way.name}: {streams} streams, p99 of the gap "
                    f"{row['added_p99_ms']} ms over {1000 / RATE:.0f}"
                )
                if row["added_p99_ms"] > HOPELESS_MS or row["share"] < 0.9:
                    break
    made = []
    for (name, streams), rows in seen.items():
        row = {"way": name, "streams": streams, **_spread(rows)}
        row["holds"] = row["added_p99_ms"] <= GAP_BOUND_MS and row["share"] >= SHARE
        made.append(row)
    made += [{"way": name, "streams": streams, "failed": why} for (name, streams), why in failed.items()]
    return made


def _paced(rig: Rig, way: Way, streams: int, seconds: float) -> dict[str, Any]:
    ramp = max(0.5, streams / 700)
    events = int((ramp + seconds + 10) * RATE)
    body = body_file(rig, payloads.chat(TO.client, f"gpt-paced-{events}x{RATE:.0f}", stream=True))
    spec = way.spec(body, stream=True, connections=streams, seconds=seconds, warm=ramp, rate=RATE)
    before = way.used()
    figures = loaded(way, spec)
    # What the beginning cost is in it: the events of the ramp are as well.
    events_seen = figures["events"] * (1 + ramp / 2 / seconds)
    for name, used in way.used().items():
        figures[f"{name}_us_per_event"] = round((used - before[name]) / events_seen * 1e6, 1)
    return figures


def beside_large(rig: Rig, way: Way, seconds: float, streams: int) -> Row:
    """Paced streams without and with one request of 20 MB a second on the same way."""
    ramp = 0.5
    events = int((ramp + seconds + 10) * RATE)
    body = body_file(rig, payloads.chat(TO.client, f"gpt-paced-{events}x{RATE:.0f}", stream=True))
    spec = way.spec(body, stream=True, connections=streams, seconds=seconds, warm=ramp, rate=RATE)
    large = body_file(rig, payloads.image("gpt-whole", payloads.LARGE))
    # What is started with the first one is there then.
    Generator(way.spec(large, stream=False, seconds=0.0, warm=0.0)).result()
    without = loaded(way, spec)
    beside = Generator(way.spec(large, stream=False, seconds=seconds + ramp, interval=1.0, warm=0.0))
    with_it = loaded(way, spec)
    passed = beside.result()
    return {
        "way": way.name,
        "streams": streams,
        "bytes": payloads.LARGE,
        "requests": passed["exchanges"],
        "request_p50_ms": passed["p50_ms"],
        "added_p99_ms_without": without["added_p99_ms"],
        "added_p99_ms_with": with_it["added_p99_ms"],
    }


_files: dict[tuple[int, bytes], Path] = {}


def body_file(rig: Rig, body: bytes) -> Path:
    """*body* in a file that lasts as long as the rig."""
    key = id(rig), body
    if key not in _files:
        _files[key] = rig.folder() / "body"
        _files[key].write_bytes(body)
    return _files[key]
