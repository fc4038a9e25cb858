"""The gateway that the pages speak of, running: ``extproc run`` with scripted providers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from extproc.run.main import RunOptions, plan
from extproc.run.running import Running

HERE = "http://127.0.0.1:10000"
"""Where the pages have it."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where it is."""
    with plan(RunOptions(scripted=True)) as made, Running(made.layout, made.environ, 0) as gateway:
        yield gateway.url
