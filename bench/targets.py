"""The figures that this project set itself, and whether a run reached them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import aigw
import held

Results = dict[str, Any]
GROWTH_KB = 1024
"""What still counts as no growth: a thousandth of it is one leaked byte an exchange."""
AGAINST = {"LiteLLM": 40.0, "llm-rosetta": 3.5, "TensorZero": 1.0}
"""How many times a peer's throughput ours is to be."""
LARGE = (("2 MB image request", 1.5), ("20 MB image request", 25.0))
"""Milliseconds of the sidecar's CPU, at most."""
SHIPPED = "full h2"
"""The way through Envoy that deploy/envoy.yaml has."""
BESIDE_GO = (
    ("1 KB chat", "CPU", 0.65),
    ("1 KB chat", "exchanges/s", 1.35),
    ("78 KB agent request", "exchanges/s", 1.3),
    ("2 MB image request", "exchanges/s", 1.5),
    ("200-event stream", "CPU", 0.75),
)
"""What ours is to be of Envoy AI Gateway's: CPU at most, of Envoy and sidecar together; exchanges a second at least."""
PACED_BESIDE_GO = {64: 0.4, 250: 0.5}
"""By streams: what the sidecar's CPU per event is to be of its, at most."""


class Judged(NamedTuple):
    name: str
    target: str
    measured: str
    verdict: str


def judged(results: Results) -> Iterator[Judged]:
    """Every target, measured or not."""
    yield from _costs(results)
    yield from _streams(results)
    yield from _latency(results)
    yield from _throughput(results)
    yield from _beside_go(results)
    yield from _memory(results)


def _said(name: str, target: str, measured: str | None, reached: bool) -> Judged:
    if measured is None:
        return Judged(name, target, "not measured", "-")
    return Judged(name, target, measured, "yes" if reached else "**no**")


def _costs(results: Results) -> Iterator[Judged]:
    cost = {(row["case"], row["transport"]): row["cpu_us"] for row in results.get("sidecar", [])}

    def of(case: str) -> float | None:
        return cost.get((case, "h2"))

    noop, other = of("no-op, 4 messages"), cost.get(("no-op, 4 messages", "grpcio"))
    ratio = other / noop if noop and other else None
    said = f"{ratio:.1f} times ({noop:.0f} us against {other:.0f})" if ratio else None
    name = "no-op exchange, CPU, `h2` against `grpcio`"
    yield _said(name, "at least 10 times less", said, bool(ratio and ratio >= 10))
    for case, name in (
        ("1 KB chat, whole, translator", "full translation of a whole 1 KB chat, CPU per exchange: the translator's"),
        ("1 KB chat, whole, as shipped", "the same on the router's own stream, as `deploy/envoy.yaml` has it"),
    ):
        us = of(case)
        yield _said(name, "at most 150 us", f"{us:.0f} us" if us else None, bool(us and us <= 150))
    us = of("stream event")
    said = f"{us:.1f} us" if us else None
    yield _said("full translation, CPU per stream event", "at most 20 us", said, bool(us and us <= 20))
    for name, most in LARGE:
        us = of(f"{name}, as shipped")
        said = f"{us / 1000:.1f} ms" if us else None
        yield _said(
            f"{name}, as shipped: CPU of the sidecar", f"at most {most:g} ms", said, bool(us and us <= most * 1000)
        )


def _streams(results: Results) -> Iterator[Judged]:
    rows = results.get("held", {}).get("h2")
    most = held.most(rows) if rows else 0
    name = "concurrent translated streams per core at 50 events/s, p99 added delay at most 5 ms (the sidecar alone)"
    yield _said(name, "at least 2,000", f"{most:,.0f}" if rows else None, most >= 2000)
    about = "64 paced streams beside one 20 MB request a second: growth of the p99"
    found = _growth(_of(results, "beside", "transport", "h2"), "delay")
    yield _said(f"{about} (the sidecar alone)", "at most 10 ms", _ms(found), bool(found and found[0] <= 10))
    found = _growth(_of(results, "beside_envoy", "way", SHIPPED), "added")
    yield _said(f"{about} gap (through Envoy)", "at most 10 ms", _ms(found), bool(found and found[0] <= 10))


def _of(results: Results, part: str, key: str, value: str) -> list[dict[str, Any]]:
    return [row for row in results.get(part, []) if row[key] == value]


def _growth(rows: list[dict[str, Any]], what: str) -> list[float]:
    return [row[f"{what}_p99_ms_with"] - row[f"{what}_p99_ms_without"] for row in rows]


def _ms(found: list[float]) -> str | None:
    return f"{found[0]:.1f} ms" if found else None


def _latency(results: Results) -> Iterator[Judged]:
    rows = {row["way"]: row for row in _of(results, "requests", "scenario", "1 KB chat")}
    ours, noop = rows.get(SHIPPED, {}), rows.get("no-op h2, translator only", {})
    name = "added latency at one connection over a no-op ext_proc of one stream, 1 KB chat, p50 / p99"
    if "added_p50_ms" not in ours or "added_p50_ms" not in noop:
        yield _said(name, "at most 0.25 / 0.5 ms", None, False)
        return
    p50, p99 = (ours[key] - noop[key] for key in ("added_p50_ms", "added_p99_ms"))
    yield _said(name, "at most 0.25 / 0.5 ms", f"{p50:.2f} / {p99:.2f} ms", p50 <= 0.25 and p99 <= 0.5)


def _throughput(results: Results) -> Iterator[Judged]:
    rows = results.get("peers", {}).get("rows", [])
    for peer, times in AGAINST.items():
        found = [row["ratio"] for row in rows if row["gateway"] == peer and "ratio" in row]
        target = f"at least {times:g} times" if times > 1 else "level"
        said = " and ".join(f"{ratio:.1f}" for ratio in found) + " times" if found else None
        name = f"throughput through Envoy, whole answers, 8 connections, against {peer}"
        yield _said(name, target, said, min(found, default=0) >= times)


def _beside_go(results: Results) -> Iterator[Judged]:
    found = results.get("aigw", {})
    rows = {(row["scenario"], row["way"]): row for row in found.get("requests", [])}
    for scenario, what, bound in BESIDE_GO:
        ours, theirs = rows.get((scenario, SHIPPED)), rows.get((scenario, aigw.NAME))
        measure = cpu_of if what == "CPU" else _per_second
        ratio = measure(ours) / measure(theirs) if ours and theirs else None
        named = "CPU of Envoy and sidecar" if what == "CPU" else what
        yield _against_go(f"{scenario}, as shipped: {named}", ratio, bound, at_most=what == "CPU")
    paced = {(row["streams"], row["way"]): row for row in found.get("paced", []) if "failed" not in row}
    for streams, bound in PACED_BESIDE_GO.items():
        ours, theirs = paced.get((streams, SHIPPED)), paced.get((streams, aigw.NAME))
        key = "sidecar_us_per_event"
        ratio = ours[key] / theirs[key] if ours and theirs else None
        yield _against_go(f"{streams} paced streams: CPU of the sidecar per event", ratio, bound, at_most=True)


def _against_go(name: str, ratio: float | None, bound: float, *, at_most: bool) -> Judged:
    target = f"{'at most' if at_most else 'at least'} {bound:g} times"
    reached = ratio is not None and (ratio <= bound if at_most else ratio >= bound)
    return _said(f"{name}, against {aigw.NAME}", target, f"{ratio:.2f} times" if ratio else None, reached)


def cpu_of(row: dict[str, Any]) -> float:
    """Microseconds of an exchange through Envoy, the sidecar's with them where there is one."""
    return float(row["envoy_us"] + row.get("sidecar_us", 0.0))


def _per_second(row: dict[str, Any]) -> float:
    return float(row["per_second"])


def _memory(results: Results) -> Iterator[Judged]:
    rows = _of(results, "memory", "transport", "h2")
    row = rows[0] if rows else None
    idle = row["idle_kb"] / 1024 if row else 0
    yield _said("memory, idle process", "60 MB", f"{idle:.0f} MB" if row else None, bool(row) and idle <= 60)
    each = row["per_stream_kb"] if row else 0
    yield _said("memory per open stream", "20 KB", f"{each:.1f} KB" if row else None, bool(row) and each <= 20)
    grown = row["grown_kb"] if row else 0
    said = f"{grown / 1024:+.2f} MB over {row['exchanges']:,}" if row else None
    yield _said("memory, growth over 100,000 exchanges", "none", said, bool(row) and grown <= GROWTH_KB)
