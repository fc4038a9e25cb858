"""What several processes of one sidecar show of themselves, as if they were one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def joined(shown: Iterable[dict[str, Any]]) -> str:
    """The cursor over all of them."""
    return ",".join(told["cursor"] for told in shown if told.get("cursor"))


def one_look(shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What ``Ring.look`` tells, over all of them. One that did not answer has shown nothing."""
    ended = [each for told in shown for each in told.get("exchanges", ())]
    ended.sort(key=lambda each: each["ended_at"])
    made: dict[str, Any] = {"exchanges": ended, "open": [each for told in shown for each in told.get("open", ())]}
    for name in ("left_out", "open_count"):
        made[name] = sum(told.get(name, 0) for told in shown)
    return {**made, "cursor": joined(shown)}


def one_config(shown: Iterable[dict[str, Any]], settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """``{"settings", "routes"}``: *settings*, else those of the first, and the routes that any of them has compiled."""
    routes: list[Any] = []
    for told in shown:
        settings = told.get("settings") if settings is None else settings
        routes += [route for route in told.get("routes", ()) if route not in routes]
    return {"settings": settings, "routes": routes}
