"""The transports as they are, with sessions that do nothing: what carrying the messages costs.

python bench/noop.py h2|grpcio ADDRESS      says so on standard error when it listens, as `extproc serve` does
"""

from __future__ import annotations

import sys
from typing import Any, cast

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.server.effects import Effects
from extproc.server.grpcio import GrpcioServer
from extproc.server.h2.transport import H2Server
from extproc.server.memory import Budget
from extproc.server.serving import Stop, announce
from extproc.server.serving import run as run_transport
from extproc.settings import Settings
from loops import run


class Nothing:
    """A session that lets everything pass."""

    asks = None
    is_slow = False

    def receive(self, message: bytes) -> list[bytes]:
        kind = ProcessingRequest.FromString(message).WhichOneof("request")
        response = ProcessingResponse()
        getattr(response, str(kind)).SetInParent()
        return [response.SerializeToString()]

    def receive_parts(self, parts: list[bytes]) -> list[bytes]:
        return self.receive(b"".join(parts))

    def expect(self, size: int) -> list[bytes]:
        return []

    def refuse(self, *, too_large: bool) -> list[bytes]:
        return []

    def close(self) -> None:
        pass


class NoService:
    effects = Effects(Settings())
    budget = Budget(Settings().max_held_bytes)

    def open(self, role: str = "", *, overloaded: bool = False) -> Nothing:
        return Nothing()


async def serve(transport: str, address: str) -> None:
    settings = Settings(listen=address, transport=transport)
    made: Any = H2Server if transport == "h2" else GrpcioServer
    service = cast(Any, NoService())
    await run_transport(made(settings, service), settings, Stop(0), lambda where: announce(where, settings))


if __name__ == "__main__":
    run(serve(*sys.argv[1:]))
