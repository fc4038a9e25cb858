"""What the grpcio transport promises, ours promises too: the same tests, on the other server."""

from __future__ import annotations

import pytest

from extproc.server import Transport
from extproc.server.h2.transport import H2Server
from tests.server import test_grpcio
from tests.server.test_grpcio import *  # noqa: F403


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_grpcio, "GrpcioServer", H2Server)


@test_grpcio.run
async def test_both_are_transports() -> None:
    async with test_grpcio.serving() as (server, _, _):
        ours: Transport = server
        assert isinstance(ours, H2Server)
