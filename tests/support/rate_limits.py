"""Envoy's rate limit service on loopback, scripted: it remembers what it was asked, and refuses whom a test says."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

PROTO = """
name: "limits.proto" package: "limits" syntax: "proto3"
message_type { name: "Entry"
  field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "Count" field { name: "value" number: 1 type: TYPE_UINT64 label: LABEL_OPTIONAL } }
message_type { name: "Descriptor"
  field { name: "entries" number: 1 type: TYPE_MESSAGE type_name: ".limits.Entry" label: LABEL_REPEATED }
  field { name: "hits_addend" number: 3 type: TYPE_MESSAGE type_name: ".limits.Count" label: LABEL_OPTIONAL } }
message_type { name: "Request"
  field { name: "domain" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "descriptors" number: 2 type: TYPE_MESSAGE type_name: ".limits.Descriptor" label: LABEL_REPEATED } }
message_type { name: "Response" field { name: "overall_code" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL } }
"""
"""What is needed of Envoy's ``RateLimitRequest``, ``RateLimitDescriptor`` and ``RateLimitResponse``, by their numbers
(envoy/service/ratelimit/v3/rls.proto, envoy/extensions/common/ratelimit/v3/ratelimit.proto)."""
OK, OVER_LIMIT = 1, 2


def _messages() -> tuple[Any, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(PROTO, descriptor_pb2.FileDescriptorProto()))
    made = (pool.FindMessageTypeByName(f"limits.{name}") for name in ("Request", "Response"))
    request, response = map(message_factory.GetMessageClass, made)
    return request, response


Request, Response = _messages()
METHOD = "ShouldRateLimit"
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


@dataclass(frozen=True)
class Hit:
    """One descriptor of one question: whose, as pairs, and how many hits; ``None``: Envoy's default, 1."""

    whose: dict[str, str]
    hits: int | None


class RateLimits:
    """``refuses`` says of a descriptor whether it is over its limit. ``close`` it once."""

    def __init__(self) -> None:
        self.asked: list[list[Hit]] = []
        self.domains: set[str] = set()
        self.refuses: Callable[[Hit], bool] = lambda hit: False
        self._lock = threading.Lock()
        handler: Any = grpc.unary_unary_rpc_method_handler(
            self._answer, Request.FromString, lambda answer: answer.SerializeToString()
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _answer(self, request: Any, context: Any) -> Any:
        hits = [
            Hit(
                {entry.key: entry.value for entry in each.entries},
                each.hits_addend.value if each.HasField("hits_addend") else None,
            )
            for each in request.descriptors
        ]
        with self._lock:
            self.asked.append(hits)
            self.domains.add(request.domain)
        over = any(map(self.refuses, hits))
        return Response(overall_code=OVER_LIMIT if over else OK)

    def reset(self) -> None:
        self.refuses = lambda hit: False
        with self._lock:
            self.asked.clear()

    def close(self) -> None:
        self._server.stop(None)


def at_port(original: Mapping[str, Any], config: dict[str, Any], port: int) -> dict[str, Any]:
    """*config*, with the cluster ``ratelimit`` of the *original* at *port* of this machine."""
    clusters = config["static_resources"]["clusters"]
    for number, cluster in enumerate(original["static_resources"]["clusters"]):
        if cluster["name"] == "ratelimit":
            clusters[number] = copy.deepcopy(cluster)
            (endpoint,) = clusters[number]["load_assignment"]["endpoints"][0]["lb_endpoints"]
            endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
    return config
