"""Processes that the tests of this folder share: one sidecar, two upstreams and an Envoy for each placement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binaries import VERSIONS, Unavailable, binary
from tests.support.gateway import PLACEMENTS, Backends, Gateway, backends, gateway

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.envoy)


@pytest.fixture(scope="session")
def shared() -> Iterator[Backends]:
    with backends() as made:
        yield made


@pytest.fixture(scope="session", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Path:
    """The binary of each version of Envoy that is promised."""
    try:
        return binary(request.param)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session", params=PLACEMENTS)
def _each(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, request.param) as made:
        yield made


@pytest.fixture
def envoy(_each: Gateway) -> Iterator[Gateway]:
    """Envoy in each of the placements, one after the other."""
    _each.backends.reset()
    yield _each
    assert _each.envoy.alive(), f"Envoy died:\n{_each.envoy.tail()}"
    assert _each.backends.sidecar.alive(), f"the sidecar died:\n{_each.backends.sidecar.tail()}"


@pytest.fixture(scope="session", params=["one-stream", "upstream"])
def _with_router(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    with gateway(shared, request.param, name=f"{request.param}-reference") as made:
        yield made


@pytest.fixture
def reference(_with_router: Gateway) -> Iterator[Gateway]:
    """Envoy as deploy/envoy.yaml has it, and as it would be if each provider failed over to another."""
    _with_router.backends.reset()
    yield _with_router
    assert _with_router.envoy.alive(), f"Envoy died:\n{_with_router.envoy.tail()}"
