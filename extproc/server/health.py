"""Asks a running server how it is, as the health checks of Envoy and Kubernetes do (``grpc.health.v1.Health``)."""

from __future__ import annotations

import grpc

from ..envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

CHECK = "/grpc.health.v1.Health/Check"
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where a server that listens on all addresses is asked."""


def check(address: str, seconds: float) -> str:
    """What the sidecar at *address* (``host:port`` or ``unix:/path``) says of itself: ``SERVING``, or why that is not
    so in one line. Waits *seconds* at most."""
    with grpc.insecure_channel(target(address)) as channel:
        ask = channel.unary_unary(CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)
        try:
            answer: HealthCheckResponse = ask(HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return HealthCheckResponse.ServingStatus.Name(answer.status)


def target(listening: str) -> str:
    """Where to call a server that was told to listen on *listening*."""
    if listening.startswith("unix:"):
        return listening
    host, _, port = listening.rpartition(":")
    return f"{_ANY.get(host, host)}:{port}"
