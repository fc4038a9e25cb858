"""Processes that the tests of this folder share: one sidecar, two upstreams and an Envoy for each placement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Backends, Gateway, backends, gateway

HERE = Path(__file__).parent
PLACEMENTS = ("upstream", "listener", "one-stream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.envoy)


@pytest.fixture(scope="session")
def shared() -> Iterator[Backends]:
    with backends() as made:
        yield made


@pytest.fixture(scope="session", params=PLACEMENTS)
def _both(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, request.param) as made:
        yield made


@pytest.fixture
def envoy(_both: Gateway) -> Iterator[Gateway]:
    """Envoy in each of the two placements, one after the other."""
    _both.backends.reset()
    yield _both
    assert _both.envoy.alive(), f"Envoy died:\n{_both.envoy.tail()}"
    assert _both.backends.sidecar.alive(), f"the sidecar died:\n{_both.backends.sidecar.tail()}"


@pytest.fixture(scope="session")
def _upstream_only(shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, "upstream", name="upstream-only") as made:
        yield made


@pytest.fixture
def reference(_upstream_only: Gateway) -> Iterator[Gateway]:
    """Envoy as deploy/envoy.yaml has it."""
    _upstream_only.backends.reset()
    yield _upstream_only
    assert _upstream_only.envoy.alive(), f"Envoy died:\n{_upstream_only.envoy.tail()}"
