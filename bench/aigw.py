"""Envoy AI Gateway's external processor behind the same Envoy, with the filters that its own controller writes: one on
the listener, which sees a whole exchange, and one in each cluster, which sees a request's head alone.

    AIGW_EXTPROC=path/to/extproc make bench-peers

Its binary is built by its own documents; nothing of it is here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from extproc.demo.processes import Envoy, Process
from extproc.reference import config
from machine import Wrong
from rig import ROUTER, TRANSLATOR, Rig

NAME = "Envoy AI Gateway"
VARIABLE = "AIGW_EXTPROC"
MODEL_HEADER = "x-ai-eg-model"
SPACE = "io.envoy.ai_gateway"
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_BACKEND = "filter_metadata['aigateway.envoy.io']['per_route_rule_backend_name']"
_ENVIRON = {**os.environ, "DISABLE_PPROF": "1", "OTEL_SDK_DISABLED": "true"}
_BACKENDS = {
    "openai": {"schema": {"name": "OpenAI"}, "auth": {"apiKey": {"key": "key-of-openai"}}},
    "anthropic": {"schema": {"name": "Anthropic"}, "auth": {"anthropicAPIKey": {"key": "key-of-anthropic"}}},
}


def binary() -> Path | None:
    """What AIGW_EXTPROC names; ``None`` if it names nothing. Raises Wrong."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    found = Path(named)
    if not os.access(found, os.X_OK) or found.is_dir():
        raise Wrong(f"{VARIABLE} is no program: {named}")
    return found.resolve()


class Processor(Process):
    """The process, on a Unix socket."""

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__("aigw", folder)
        self.socket = str(folder / "aigw.sock")
        self._program = program
        self._config = folder / "filter.json"
        self.version = version(program, folder)
        self._config.write_text(json.dumps(filter_config(self.version)))

    def command(self) -> Sequence[str]:
        told = ["-configPath", str(self._config), "-extProcAddr", f"unix://{self.socket}", "-adminPort", "0"]
        # Its clients of Messages ask at /anthropic by default.
        return [str(self._program), *told, "-endpointPrefixes", "anthropic:/", "-logLevel", "error"]

    def environment(self) -> Mapping[str, str] | None:
        return _ENVIRON

    def ready(self) -> bool:
        return Path(self.socket).exists()


def version(program: Path, folder: Path) -> str:
    """What the program calls its version: it says so when it reads a configuration that another one has written. Raises
    Wrong."""
    other = folder / "other.json"
    other.write_text("{}")
    command = [str(program), "-configPath", str(other), "-extProcAddr", f"unix://{folder / 'other.sock'}"]
    try:
        done = subprocess.run(
            [*command, "-adminPort", "0"], capture_output=True, text=True, timeout=30, check=False, env=_ENVIRON
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"{program} takes any configuration: it is not what {VARIABLE} is for") from None
    found = re.search(r'expected "([^"]*)"', done.stderr + done.stdout)
    if found is None:
        raise Wrong(f"{program} does not say its version: {done.stderr[-300:]}")
    return found[1]


def filter_config(written_by: str) -> dict[str, Any]:
    """What its controller would write for an OpenAI and an Anthropic backend. It reads what its own version wrote."""
    return {
        "version": written_by,
        "backends": [{"name": name, **about} for name, about in _BACKENDS.items()],
        "models": [{"name": "gpt-whole"}, {"name": "claude-whole"}],
    }


def layout(made: dict[str, Any]) -> dict[str, Any]:
    """The reference configuration *made* with its filters in the places of ours. Limits, timeouts, log and all else
    stay as they are."""
    resources = made["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    own = next(item for item in manager["http_filters"] if item["name"] == ROUTER)
    own["typed_config"] = _filter("10s", {
        "request_header_mode": "SEND", "request_body_mode": "BUFFERED", "request_trailer_mode": "SKIP",
        "response_header_mode": "SEND", "response_body_mode": "BUFFERED", "response_trailer_mode": "SKIP",
    })  # fmt: skip
    host = manager["route_config"]["virtual_hosts"][0]
    del host["metadata"]
    routes = [item for item in host["routes"] if item["name"] in _BACKENDS]
    for route, prefix in zip(routes, ("gpt", "claude"), strict=True):
        route["match"] = {"prefix": "/", "headers": [{"name": MODEL_HEADER, "string_match": {"prefix": prefix}}]}
        route.pop("metadata", None)
    host["routes"] = [*routes, {"match": {"prefix": "/"}, "direct_response": {"status": 404}}]
    sidecar = resources["clusters"][-1]
    del sidecar["health_checks"]
    resources["clusters"] = [item for item in resources["clusters"] if item["name"] in _BACKENDS] + [sidecar]
    for cluster in resources["clusters"][:-1]:
        (options,) = cluster["typed_extension_protocol_options"].values()
        options["http_filters"] = _in_the_cluster()
        for locality in cluster["load_assignment"]["endpoints"]:
            for endpoint in locality["lb_endpoints"]:
                said = {"per_route_rule_backend_name": cluster["name"]}
                endpoint["metadata"] = {"filter_metadata": {"aigateway.envoy.io": said}}
    return made


def _filter(timeout: str, mode: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "@type": f"{_HTTP}.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "extproc"}},
        "metadata_options": {"receiving_namespaces": {"untyped": [SPACE]}},
        "processing_mode": mode,
        "message_timeout": timeout,
        "allow_mode_override": True,
        **more,
    }


def _in_the_cluster() -> list[dict[str, Any]]:
    mode = {
        "request_header_mode": "SEND", "request_body_mode": "NONE",
        "response_header_mode": "SKIP", "response_body_mode": "NONE",
    }  # fmt: skip
    attributes = [f"xds.{level}_metadata.{_BACKEND}" for level in ("upstream_host", "cluster")]
    length = {"key": "content-length", "value": f"%DYNAMIC_METADATA({SPACE}:content_length)%"}
    mutation = {"append": {"append_action": "ADD_IF_ABSENT", "header": length}}
    return [
        {"name": TRANSLATOR, "typed_config": _filter("10s", mode, request_attributes=attributes)},
        {
            "name": "envoy.filters.http.header_mutation",
            "typed_config": {
                "@type": f"{_HTTP}.header_mutation.v3.HeaderMutation",
                "mutations": {"request_mutations": [mutation]},
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {"@type": f"{_HTTP}.upstream_codec.v3.UpstreamCodec"},
        },
    ]


def started(rig: Rig, program: Path) -> tuple[Processor, Envoy]:
    """Both, in front of the rig's provider. Raises NotStarted."""
    processor = rig.enter(Processor(program, rig.folder()))
    folder = rig.folder()
    to = ("127.0.0.1", rig.provider().port)
    made = config.rewrite(
        config.reference(),
        sidecar=processor.socket,
        upstreams={"api.openai.com": to, "api.anthropic.com": to},
        access_log=str(folder / "access.log"),
    )
    return processor, rig.enter(Envoy(folder, layout(made)))
