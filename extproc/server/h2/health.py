"""``grpc.health.v1.Health``: Check and Watch, as answerers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from ...envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from .heads import Head
from .messages import CallFailed, Status
from .session import Answerer, Method, Outlet

SERVING: Final = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
NOT_SERVING: Final = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING).SerializeToString()
SERVICE_UNKNOWN: Final = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()


class Health:
    """One status for all services that are named; SERVING until ``stop``."""

    def __init__(self, services: Collection[str]) -> None:
        """``services``: the names that are asked for; ``""`` is the server as a whole."""
        self.services = services
        self.status = SERVING
        self.watches: dict[_Watch, None] = {}

    def methods(self) -> dict[str, Method]:
        """For Session."""
        return {"/grpc.health.v1.Health/Check": self._check, "/grpc.health.v1.Health/Watch": self._watch}

    def stop(self) -> None:
        """NOT_SERVING from now on. Who watches is told, and the watch ends: it would keep its connection from
        draining."""
        if self.status is SERVING:
            self.status = NOT_SERVING
            for watch in list(self.watches):
                if watch.service in self.services:
                    watch.outlet.send(NOT_SERVING)
                watch.outlet.end(Status.OK)

    def _check(self, head: Head, outlet: Outlet) -> Answerer:
        return _Check(self)

    def _watch(self, head: Head, outlet: Outlet) -> Answerer:
        return _Watch(self, outlet)


class _Check:
    is_slow = False

    def __init__(self, health: Health) -> None:
        self._health = health

    def receive(self, message: bytes) -> Sequence[bytes]:
        service = _service(message)
        if service not in self._health.services:
            raise CallFailed(Status.NOT_FOUND, f"unknown service {service!r}")
        return (self._health.status,)

    def receive_parts(self, parts: list[bytes]) -> Sequence[bytes]:
        return self.receive(b"".join(parts))

    def expect(self, size: int) -> Sequence[bytes]:
        return ()

    def refuse(self, *, too_large: bool) -> Sequence[bytes]:
        return ()

    def close(self) -> None:
        pass


class _Watch:
    """Stays open after its client has half-closed, as every call with one request does."""

    is_slow = False

    def __init__(self, health: Health, outlet: Outlet) -> None:
        self._health = health
        self.outlet = outlet
        self.service = ""
        outlet.stay()

    def receive(self, message: bytes) -> Sequence[bytes]:
        self.service = _service(message)
        self._health.watches[self] = None
        self.outlet.send(self._health.status if self.service in self._health.services else SERVICE_UNKNOWN)
        if self._health.status is NOT_SERVING:
            self.outlet.end(Status.OK)
        return ()

    def receive_parts(self, parts: list[bytes]) -> Sequence[bytes]:
        return self.receive(b"".join(parts))

    def expect(self, size: int) -> Sequence[bytes]:
        return ()

    def refuse(self, *, too_large: bool) -> Sequence[bytes]:
        return ()

    def close(self) -> None:
        self._health.watches.pop(self, None)


def _service(message: bytes) -> str:
    try:
        return str(HealthCheckRequest.FromString(message).service)
    except DecodeError:
        raise CallFailed(Status.INTERNAL, "not a HealthCheckRequest") from None
