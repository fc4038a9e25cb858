"""The table, for people, for machines and for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .features import BY_NAME
from .judge import Grade, Judgement
from .sides import MODELS
from .table import Cell

WORDS = {
    Grade.EXACT: "it arrives as it was said",
    Grade.MAPPED: "it arrives in other words, which the report names",
    Grade.EMULATED: "it is done by other means, which the report names",
    Grade.LOST: "it does not arrive, and the report says so",
    Grade.REFUSED: "the client gets an error in its own shape, and the upstream is not asked",
    Grade.SILENT: "a fault: it does not arrive, and nothing says so",
    Grade.BROKEN: "a fault: there is no answer that the client's API allows",
    Grade.ABSENT: "one of the two APIs has no words for it",
}


def faults(rows: Sequence[Cell]) -> list[Cell]:
    return [row for row in rows if row.finding.grade.is_fault]


def as_json(rows: Sequence[Cell]) -> str:
    """A list of objects ``{client, upstream, feature, grade, detail}``."""
    told = [
        {"client": r.client, "upstream": r.upstream, "feature": r.feature,
         "grade": r.finding.grade.value, "detail": r.finding.detail}
        for r in rows
    ]  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(told)).decode()


def as_text(rows: Sequence[Cell]) -> str:
    """For each client a table of features by upstreams, and behind them what the faults rest on."""
    parts = []
    for client in dict.fromkeys(row.client for row in rows):
        cells = _cells(rows, client)
        upstreams = list(dict.fromkeys(row.upstream for row in rows if row.client == client))
        table = [[client, *upstreams]] + [
            [name, *(cells[name, u].grade.value for u in upstreams)] for name in _names(rows)
        ]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        parts.append(
            "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table)
        )
    wrong = [
        f"{r.client} on {r.upstream}, {r.feature}: {r.finding.grade.value}: {r.finding.detail}" for r in faults(rows)
    ]
    return "\n\n".join([*parts, "\n".join(wrong) or "no faults"])


def as_markdown(rows: Sequence[Cell], titles: dict[str, str]) -> str:
    """For each client a table of features by upstreams. *titles*: how the APIs are called."""
    parts = []
    for client in dict.fromkeys(row.client for row in rows):
        cells = _cells(rows, client)
        upstreams = [name for name in MODELS if any(row.upstream == name for row in rows)]
        lines = [f"## {titles[client]} as the client", ""]
        lines += [
            "| feature | " + " | ".join(titles[name] for name in upstreams) + " |",
            "|---|" + "---|" * len(upstreams),
        ]
        for name in _names(rows):
            found = [cells[name, upstream].grade.value for upstream in upstreams]
            lines.append(f"| {BY_NAME[name].title} | " + " | ".join(found) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _names(rows: Sequence[Cell]) -> list[str]:
    return list(dict.fromkeys(row.feature for row in rows))


def _cells(rows: Sequence[Cell], client: str) -> dict[tuple[str, str], Judgement]:
    return {(row.feature, row.upstream): row.finding for row in rows if row.client == client}
