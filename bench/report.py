"""Tables and plots out of bench/results.json.

python bench/report.py [--check]      writes them into docs/benchmarks.md, between its markers, and docs/*.svg
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aigw
import envoys
import held
import machine
import plots
import sidecar
from targets import SHIPPED, cpu_of, judged

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
CHINESE = ROOT / "docs" / "zh" / "benchmarks.md"
Results = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


def number(value: float) -> str:
    """As many digits as a reader can use."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(row: dict[str, Any], name: str) -> str:
    """A median with its least and most."""
    if name not in row:
        return "-"
    return f"{number(row[name])} ({number(row[f'{name}_least'])}-{number(row[f'{name}_most'])})"


# ---- tables


def of_targets(results: Results) -> Table:
    rows = [[each.name, each.target, each.measured, each.verdict] for each in judged(results)]
    return ["figure", "target", "measured", "reached"], rows


def of_sidecar(results: Results) -> Table:
    by_case: dict[str, dict[str, Any]] = {}
    for row in results.get("sidecar", []):
        by_case.setdefault(row["case"], {})[row["transport"]] = row
    rows = []
    for name, found in by_case.items():
        unit = next(iter(found.values()))["unit"]
        h2, source, grpcio = (found.get(each) for each in ("h2", sidecar.SOURCE, "grpcio"))
        ratio = f"{grpcio['cpu_us'] / h2['cpu_us']:.1f}" if h2 and grpcio else "-"
        cells = [spread(each, "cpu_us") if each else "-" for each in (h2, source, grpcio)]
        rows.append([name, f"us per {unit}", *cells, ratio, number(h2["per_second"]) if h2 else "-"])
    return ["the sidecar alone", "CPU", "h2", sidecar.SOURCE, "grpcio", "grpcio / h2", "most a second, h2"], rows


def of_held(results: Results) -> Table:
    rows = []
    for transport, found in results.get("held", {}).items():
        for row in found:
            delay = f"{number(row['delay_p99_ms'])} ({number(row['delay_p99_least'])}-{number(row['delay_p99_most'])})"
            cells = [number(row["delay_p50_ms"]), delay, number(row["cpu_us"]), f"{row['core']:.0%}"]
            cells += [number(row["late_p99_ms"]), "yes" if row["holds"] else "no"]
            rows.append([transport, str(int(row["streams"])), *cells])
    head = ["transport", "streams", "delay p50, ms", "delay p99, ms", "CPU us per event", "of its core"]
    return [*head, "client late p99, ms", "holds"], rows


def of_requests(results: Results) -> Table:
    rows = []
    for row in results.get("requests", []):
        figures = [spread(row, name) for name in ("per_second", "p50_ms", "p99_ms", "added_p50_ms", "added_p99_ms")]
        cells = [number(row[name]) if name in row else "-" for name in ("first_p50_ms", "sidecar_us", "envoy_us")]
        rows.append([row["scenario"], row["way"], *figures, *cells])
    head = ["request", "way", "exchanges/s, 8 conn.", "p50 ms, 1 conn.", "p99 ms", "added p50 ms", "added p99 ms"]
    return [*head, "first token p50 ms", "sidecar CPU us", "Envoy CPU us"], rows


def of_paced(results: Results) -> Table:
    rows = []
    for row in results.get("paced", []):
        if "failed" in row:
            rows.append([row["way"], str(row["streams"]), *["-"] * 6, "no: answers failed"])
            continue
        cells = [f"{row['share']:.0%}", number(row["first_p50_ms"]) if "first_p50_ms" in row else "-"]
        cells += [number(row[name]) if name in row else "-" for name in ("sidecar_us_per_event", "envoy_us_per_event")]
        gap = [number(row["added_p50_ms"]), number(row["added_p99_ms"])]
        rows.append([row["way"], str(int(row["streams"])), *gap, *cells, "yes" if row["holds"] else "no"])
    head = ["way", "streams", "gap p50 - 20 ms", "gap p99 - 20 ms", "events that came", "first token p50 ms"]
    return [*head, "sidecar CPU us per event", "Envoy CPU us per event", "holds"], rows


def of_large(results: Results) -> Table:
    rows = [
        [f"the sidecar alone, {row['transport']}", str(row["streams"]), "delay"]
        + [number(row[f"delay_p99_ms_{name}"]) for name in ("without", "with")]
        + [number(row["delay_p99_ms_with"] - row["delay_p99_ms_without"])]
        for row in results.get("beside", [])
    ]
    rows += [
        [row["way"], str(row["streams"]), "gap - 20 ms"]
        + [number(row[f"added_p99_ms_{name}"]) for name in ("without", "with")]
        + [number(row["added_p99_ms_with"] - row["added_p99_ms_without"])]
        for row in results.get("beside_envoy", [])
    ]
    return ["way", "streams", "p99 of", "without, ms", "with 20 MB a second, ms", "growth, ms"], rows


DELAYS = ("delay_p50", "delay_p99", "late_p99")


def of_hanging(results: Results) -> Table:
    rows = [
        [f"the sidecar alone, {row['transport']}", str(row["streams"]), str(row["hanging"])]
        + [number(row[f"{what}_ms_{name}"]) for what in DELAYS for name in ("without", "with")]
        for row in results.get("beside_hanging", [])
    ]
    head = ["way", "streams", "exchanges that wait", "delay p50 without, ms", "with, ms"]
    return [*head, "delay p99 without, ms", "with, ms", "client late p99 without, ms", "with, ms"], rows


def of_memory(results: Results) -> Table:
    rows = [
        [
            row["transport"],
            number(row["idle_kb"] / 1024),
            number(row["warm_kb"] / 1024),
            f"{row['grown_kb'] / 1024:+.2f} over {row['exchanges']:,}",
            number(row["open_kb"] / 1024),
            f"{row['per_stream_kb']:.1f}",
        ]
        for row in results.get("memory", [])
    ]
    streams = next((row["streams"] for row in results.get("memory", [])), 0)
    return ["transport", "idle, MB", "warm, MB", "growth, MB", f"{streams} open, MB", "KB per open stream"], rows


def of_hotspots(results: Results) -> Table:
    found = results.get("hotspots", {})
    rows = [[", ".join(f"{part} {share:.0%}" for part, share in shares)] for shares in found.values()]
    return ["what", "where the CPU goes (cProfile, h2)"], [[name, *row] for name, row in zip(found, rows, strict=True)]


MESSAGES = ("request_headers", "request_body", "response_headers", "response_body")


def of_spent(results: Results) -> Table:
    """Where the CPU of an exchange goes: in Envoy, in the process beside it, and there in each message."""
    beside = results.get("aigw", {}).get("requests", [])
    rows = []
    for scenario in dict.fromkeys(row["scenario"] for row in beside):
        found = {row["way"]: row for row in beside if row["scenario"] == scenario}
        # Runs before the no-op had its place beside the other gateway have it among those through Envoy.
        others = {row["way"]: row for row in results.get("requests", []) if row["scenario"] == scenario}
        noop = envoys.ONE_NOOP
        for way, there in ((noop, found if noop in found else others), (SHIPPED, found), (aigw.NAME, found)):
            if way not in there or "Envoy alone" not in there or aigw.NAME not in found:
                continue
            row, alone = there[way], there["Envoy alone"]["envoy_us"]
            spent = results.get("spent", {}).get(scenario, {}) if way == SHIPPED else {}
            around = row["sidecar_us"] - sum(spent.values())
            messages = [around, *(spent[kind] for kind in MESSAGES)] if spent else []
            cells = [number(each) for each in (alone, row["envoy_us"] - alone, row["sidecar_us"], *messages)]
            cells += ["-"] * (8 - len(cells))
            whole = cpu_of(row)
            rows.append([scenario, way, *cells, number(whole), f"{whole / cpu_of(found[aigw.NAME]):.2f}"])
    head = ["us of CPU for an exchange", "way", "Envoy by itself", "Envoy, for its messages", "the process beside it"]
    head += ["of that: transport, waking up", "the request's head", "its body", "the answer's head", "its body"]
    return [*head, "both", f"of {aigw.NAME}'s"], rows


def of_peers(results: Results) -> Table:
    rows = []
    for row in results.get("peers", {}).get("rows", []):
        cells = [spread(row, name) for name in ("per_second", "p50_ms")]
        memory = number(row["rss_kb"] / 1024) if "rss_kb" in row else "-"
        ratio = f"{row['ratio']:.1f}" if "ratio" in row else "-"
        rows.append([row["gateway"], row["direction"], *cells, ratio, memory, row.get("note", "")])
    head = ["gateway", "direction", "exchanges/s, 8 conn.", "p50 ms, 8 conn.", "ours (h2) / this", "memory, MB", "note"]
    return head, rows


def of_aigw(results: Results) -> Table:
    found = results.get("aigw", {})
    theirs = {row["scenario"]: row for row in found.get("requests", []) if row["way"] == aigw.NAME}
    rows = []
    for row in found.get("requests", []):
        figures = [spread(row, name) for name in ("per_second", "p50_ms", "p99_ms")]
        cpu = [number(row[name]) if name in row else "-" for name in ("sidecar_us", "envoy_us")]
        whole = cpu_of(row) / cpu_of(theirs[row["scenario"]])
        memory = found["rss_kb"].get(row["way"])
        rows.append(
            [row["scenario"], row["way"], *figures, *cpu, f"{whole:.2f}", number(memory / 1024) if memory else "-"]
        )
    head = ["request", "way", "exchanges/s, 8 conn.", "p50 ms, 1 conn.", "p99 ms", "sidecar CPU us", "Envoy CPU us"]
    return [*head, f"both, of {aigw.NAME}'s", "sidecar, MB"], rows


def of_aigw_paced(results: Results) -> Table:
    found = results.get("aigw", {}).get("paced", [])
    theirs = {row["streams"]: row for row in found if row["way"] == aigw.NAME and "failed" not in row}
    rows = []
    for row in found:
        if "failed" in row or row["streams"] not in theirs:
            rows.append([row["way"], str(int(row["streams"])), *["-"] * 5])
            continue
        gap = [number(row["added_p50_ms"]), number(row["added_p99_ms"])]
        cells = [number(row[name]) for name in ("sidecar_us_per_event", "envoy_us_per_event")]
        share = row["sidecar_us_per_event"] / theirs[row["streams"]]["sidecar_us_per_event"]
        rows.append([row["way"], str(int(row["streams"])), *gap, *cells, f"{share:.2f}"])
    head = ["way", "streams", "gap p50 - 20 ms", "gap p99 - 20 ms", "sidecar CPU us per event"]
    return [*head, "Envoy CPU us per event", f"sidecar's, of {aigw.NAME}'s"], rows


TABLES: dict[str, Callable[[Results], Table]] = {
    "targets": of_targets,
    "sidecar": of_sidecar,
    "held": of_held,
    "requests": of_requests,
    "paced": of_paced,
    "large": of_large,
    "hanging": of_hanging,
    "memory": of_memory,
    "hotspots": of_hotspots,
    "spent": of_spent,
    "peers": of_peers,
    "aigw": of_aigw,
    "aigw-paced": of_aigw_paced,
}


def markdown(table: Table) -> str:
    head, rows = table
    if not rows:
        return "(not measured)"
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    if len(head) < 3:
        widths = [0] * len(head)
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    lines.insert(1, "|".join("-" * 3 for _ in head))
    return "\n".join(f"| {line.rstrip()} |" for line in lines)


def text(results: Results) -> str:
    """All tables, for a terminal."""
    found = ((name, make(results)) for name, make in TABLES.items())
    return "\n\n".join(f"{name}\n{markdown(table)}" for name, table in found if table[1])


# ---- the page


def where(results: Results) -> str:
    """What the figures were measured on."""
    made = machine.line(results["machine"])
    if results["quick"]:
        made = f"**A quick run that only shows that the benchmark works: no figure below means anything.** {made}"
    peers = results.get("peers", {}).get("versions", {})
    return made + ("; " + ", ".join(f"{name} {version}" for name, version in peers.items()) if peers else "") + "."


def of_the_machine_then(results: Results) -> str:
    """What the figures beside Envoy AI Gateway were measured on, and how busy it was."""
    found = results.get("aigw")
    if not found:
        return "(not measured)"
    made = found["machine"]
    return f"{machine.line(made)}; load after {made['load_after']}; {aigw.NAME} {found['version']}."


def drawn(results: Results) -> Iterator[tuple[str, str]]:
    """(file name, SVG) of each plot for which there are figures."""
    if results.get("held"):
        series = {
            transport: [(row["streams"], row["delay_p99_ms"]) for row in rows]
            for transport, rows in results["held"].items()
        }
        title = "What the sidecar adds to an event: p99, by streams on one core"
        bound = (f"{held.BOUND_MS:g} ms", held.BOUND_MS)
        yield "benchmarks-streams.svg", plots.lines(title, "paced streams, 50 events/s each", "ms", series, bound)
    rows = [(row["way"], row["per_second"]) for row in results.get("requests", []) if row["scenario"] == "1 KB chat"]
    ways = [each for each in rows if each[0] != "direct"]
    peers = [
        (f"{row['gateway']}, {row['direction'].split(',')[0]}", row["per_second"])
        for row in results.get("peers", {}).get("rows", [])
        if "ratio" in row and row["gateway"] not in ("h2", "grpcio")
    ]
    if ways:
        yield "benchmarks-throughput.svg", plots.bars("1 KB chat, whole, 8 connections", ways + peers, "/s")


def written(results: Results) -> dict[Path, str]:
    """The files that are made, with what they must contain."""
    blocks = {name: markdown(make(results)) for name, make in TABLES.items()}
    blocks |= {"machine": where(results), "aigw-machine": of_the_machine_then(results)}
    pages = {page: _filled(page, blocks) for page in (PAGE, CHINESE)}
    return {**pages, **{PAGE.with_name(name): svg for name, svg in drawn(results)}}


def _filled(page: Path, blocks: dict[str, str]) -> str:
    """*page* with each of *blocks* in its place."""
    text = page.read_text("utf-8")
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{page.relative_to(ROOT)} has no place for {name}")
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)  # type: ignore[misc]
    return text


def main() -> int:
    results = json.loads(RESULTS.read_text("utf-8"))
    made = written(results)
    old = [path for path, content in made.items() if not path.exists() or path.read_text("utf-8") != content]
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path.relative_to(ROOT)} is not what bench/results.json says: python bench/report.py")
        return 1 if old else 0
    for path in old:
        path.write_text(made[path], "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
