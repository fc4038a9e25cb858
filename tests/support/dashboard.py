"""deploy/grafana and deploy/prometheus as data, and a page of metrics that has something for each of their queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from extproc.llm.events import Usage
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import QueuedSink

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD: dict[str, Any] = msgspec.json.decode((DEPLOY / "grafana" / "extproc.json").read_bytes())
DONE = Outcome(
    "translator", Ending.COMPLETE, 1, "anthropic_messages", "openai_chat", "openai", "chat", "openai", "gpt-5.4-mini",
    "gpt-5.4-mini", "gpt-5.4-mini", stream=True, status=200, usage=Usage(11, 5, 3, 2, 1), losses=("top_k:dropped",),
    seconds=1.5, first_content_seconds=0.25, first_token_seconds=0.05, upstream_seconds=1.25,
    waits=(("credential", 0.01), ("policy", 0.1)), denied_by="redact",
    cost_usd=0.00012,
)  # fmt: skip
ENDED = (
    DONE,
    msgspec.structs.replace(DONE, cost_usd=None, unpriced=True),
    *(msgspec.structs.replace(DONE, ending=ending, error=error) for ending, error in (
        (Ending.CUT, ""), (Ending.FAILED, "overloaded"), (Ending.REFUSED, "route_error"),
    )),
)  # fmt: skip


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


PANELS = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
ALERTS = [alert["expr"] for alert in alerts()]
VARIABLES = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]


def everything(metrics: Metrics, times: int = 1) -> str:
    """The page of *metrics* after *times* more exchanges of each kind."""
    for _ in range(times):
        for outcome in ENDED:
            metrics.ended(Began("translator", 0.0), outcome)
    sink = QueuedSink("file", lambda batch: None, bound=0)
    for _ in range(times):
        sink.ended(Began("translator", 0.0), DONE)
    sink.close()
    counts: dict[str, int | Mapping[str, int]] = {"resets": times, "abuse": {"max_pings": times}}
    spent = {"request_body": (times, times * 0.001), "response_body": (10 * times, times * 0.001)}
    return metrics.text(7, counts, {"answered": times}, [sink], spent)
