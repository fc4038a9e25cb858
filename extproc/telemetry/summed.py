"""Sums pages of Prometheus' text format, as ``metrics`` writes them: one page for the processes of one sidecar."""

from __future__ import annotations

from collections.abc import Iterable


def summed(pages: Iterable[str], *, gauges: bool = True) -> str:
    """The sum of *pages*, sample by sample. Without *gauges* only what can never fall: what an ended process leaves."""
    heads: dict[str, list[str]] = {}
    sums: dict[str, dict[str, float]] = {}
    for page in pages:
        samples: dict[str, float] = {}
        for line in page.splitlines():
            if line.startswith("#"):
                _, word, name, rest = line.split(" ", 3)
                head = heads.setdefault(name, [])
                if len(head) < 2 and line not in head:
                    head.append(line)
                if word == "TYPE":
                    samples = sums.setdefault(name, {}) if gauges or rest != "gauge" else {}
            else:
                # Labels may hold spaces; the number cannot.
                named, _, number = line.rpartition(" ")
                samples[named] = samples.get(named, 0.0) + float(number)
    lines: list[str] = []
    for name, samples in sums.items():
        lines += heads[name]
        lines += [f"{named} {_number(value)}" for named, value in samples.items()]
    return "\n".join(lines) + "\n" if lines else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.9g}"
