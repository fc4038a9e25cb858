"""The gateway that a client is to be pointed at: one that runs, or one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..run.main import RunOptions, plan
from ..run.running import Running
from ..wire import NoAnswer, ask

SECONDS = 10.0


def listed(url: str) -> list[str]:
    """The models that the gateway at *url* tells of; none where it has no list. Raises NoAnswer."""
    try:
        seen = ask(url, "/v1/models", seconds=SECONDS)
    except NoAnswer as error:
        raise NoAnswer(f"nothing answers at {url} ({error})") from None
    if seen.status == 404:
        return []
    body = seen.json
    if seen.status != 200 or not isinstance(body, dict):
        raise NoAnswer(f"{url} answers GET /v1/models with {seen.status}")
    names = [item.get("id") for item in body.get("data", []) if isinstance(item, dict)]
    return [name for name in names if isinstance(name, str)]


@contextmanager
def started() -> Iterator[str]:
    """The URL of a gateway that runs until the block ends. Raises what ``extproc run`` raises."""
    with plan(RunOptions(port=0)) as made, Running(made.layout, made.environ, 0) as running:
        yield running.url
