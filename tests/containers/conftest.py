"""Skips what needs an engine where none answers, builds the image once, and prints what was counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .stack import IMAGE, Stack, docker, stack, why_not

HERE = Path(__file__).parent
REQUIRED = "EXTPROC_CONTAINERS"
"""Set to ``required``, the absence of an engine is a failure: CI would else pass without these tests."""
_counted: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.containers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _counted:
        terminalreporter.section("containers: what clients saw")
        for line in _counted:
            terminalreporter.write_line(line)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keep a line for the end of the test run's output."""

    def keep(line: str) -> None:
        _counted.append(f"{request.node.name.removeprefix('test_').replace('_', ' ')}: {line}")

    return keep


@pytest.fixture(scope="session")
def engine() -> None:
    """A container engine that answers."""
    reason = why_not()
    if reason is None:
        return
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{reason}; tests/containers/engine.sh starts one", pytrace=False)
    pytest.skip(f"{reason}; tests/containers/engine.sh starts one")


@pytest.fixture(scope="session")
def image(engine: None) -> Iterator[str]:
    """The image, built from this checkout by the compose file."""
    Stack("build", {}).compose("build", "configuration", seconds=600)
    yield IMAGE
    # Its layers stay, for the next build.
    docker("rmi", "--no-prune", IMAGE, check=False)


@pytest.fixture(scope="session")
def running(image: str) -> Iterator[Stack]:
    """The stack as ``docker compose up`` brings it up."""
    with stack("tcp") as made:
        yield made
