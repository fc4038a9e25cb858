"""The dashboard and the alerts: every query asks for metrics and labels that the sidecar's page has."""

from __future__ import annotations

import re

import pytest

from extproc.telemetry.metrics import Metrics

from .support.dashboard import ALERTS, PANELS, VARIABLES, alerts, everything, panels

PAGE = everything(Metrics())
NOT_OURS = {"up": {"job", "instance"}}
KEYWORDS = {
    "sum", "by", "rate", "increase", "histogram_quantile", "le", "on", "ignoring", "label_values", "job", "instance",
}  # fmt: skip


def series() -> dict[str, set[str]]:
    """The labels of each sample's name."""
    found: dict[str, set[str]] = dict(NOT_OURS)
    for line in PAGE.splitlines():
        if not line.startswith("#"):
            name, _, labels = line.partition("{")
            names = set(re.findall(r'([a-z_0-9]+)="', labels))
            found.setdefault(name.partition(" ")[0], set()).update(names)
    return found


@pytest.mark.parametrize("query", [*PANELS, *ALERTS, *VARIABLES])
def test_asks_for_what_is_there(query: str) -> None:
    known = series()
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\$\w+', "", query)
    words = set(re.findall(r"[a-z_][a-z_0-9]*", bare)) - KEYWORDS
    asked = {word for word in words if word in known}
    assert asked, query
    labels = set.union(*(known[name] for name in asked))
    assert words - asked <= labels, f"{words - asked - labels} of {asked}"


def test_every_metric_of_the_conventions_is_shown() -> None:
    shown = "\n".join(PANELS)
    for name in {line.split()[2] for line in PAGE.splitlines() if line.startswith("# TYPE gen_ai")}:
        assert name in shown


def test_panels_do_not_overlap_and_say_what_they_are() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"] and (panel["type"] == "row" or panel["description"])
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


def test_alerts_say_what_they_are_about() -> None:
    for alert in alerts():
        assert alert["annotations"]["summary"] and alert["labels"]["severity"] in ("warning", "critical")
