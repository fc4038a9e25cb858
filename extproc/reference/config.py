"""The reference configuration (deploy/envoy.yaml) with its addresses replaced: the demo, the tests and docker-compose
run the very file that a user edits."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

REFERENCE = Path(__file__).with_name("envoy.yaml")
Address = tuple[str, int]
SMALL = 256 * 1024
"""Bytes of an answer that wait for a client, or for the sidecar, where no cluster has a filter."""
SMALL_WINDOW = 1024 * 1024
"""The same of a client's stream over HTTP/2, which bounds what that client may send in a round trip, too."""


def reference() -> dict[str, Any]:
    """The reference configuration as plain values, the caller's own."""
    own: dict[str, Any] = copy_all(_shipped())
    return own


@cache
def _shipped() -> dict[str, Any]:
    """Read once: it is long, and an import takes a frame and several clusters from it."""
    return load(REFERENCE)


def cluster(name: str) -> dict[str, Any]:
    """That cluster of the reference configuration."""
    clusters: list[dict[str, Any]] = reference()["static_resources"]["clusters"]
    return next(item for item in clusters if item["name"] == name)


def load(path: Path) -> dict[str, Any]:
    """An Envoy configuration from *path*. What YAML aliases share is copied: each place may be changed by itself."""
    loaded: dict[str, Any] = copy_all(yaml.safe_load(path.read_text("utf-8")))
    return loaded


def copy_all(value: Any) -> Any:
    """*value* without shared parts."""
    if isinstance(value, dict):
        return {key: copy_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_all(item) for item in value]
    return value


def rewrite(
    config: Mapping[str, Any],
    *,
    sidecar: str | Address,
    upstreams: Mapping[str, Address],
    real: Collection[str] = (),
    listen: Address = ("127.0.0.1", 0),
    admin: Address = ("127.0.0.1", 0),
    access_log: str | None = None,
) -> dict[str, Any]:
    """*config* with other addresses, and otherwise as it is.

    *sidecar* is a host and port or the path of a Unix socket; *upstreams* maps the host names of endpoints to where
    they are to be found instead, over plain HTTP/1.1; the hosts in *real* stay as they are, and of a cluster that has
    such an endpoint no other stays; *access_log* is a file in place of standard output.
    """
    made = copy.deepcopy(dict(config))
    made["admin"]["address"] = _socket(admin)
    resources = made["static_resources"]
    for listener in resources["listeners"]:
        listener["address"] = _socket(listen)
        if access_log is not None:
            _log_to(listener, access_log)
    for cluster in resources["clusters"]:
        if cluster["name"] == "extproc":
            _place_sidecar(cluster, sidecar)
        elif not _keep_real(cluster, real):
            _replace_upstreams(cluster, upstreams)
    return made


def two_streams(config: Mapping[str, Any]) -> dict[str, Any]:
    """*config* as if each of its providers failed over to another: the router's stream names the model alone, and a
    filter in each cluster translates."""
    made: dict[str, Any] = copy_all(config)
    clusters = {cluster["name"]: cluster for cluster in made["static_resources"]["clusters"]}
    filters = next(o["http_filters"] for cluster in clusters.values() for o in _options(cluster) if "http_filters" in o)
    manager = next(_managers(made["static_resources"]["listeners"][0]))
    listener = manager["http_filters"][0]["typed_config"]
    listener["request_attributes"] = [name for name in listener["request_attributes"] if "['routes']" not in name]
    host = manager["route_config"]["virtual_hosts"][0]
    said = host["metadata"]["filter_metadata"]["extproc"]
    lines = yaml.safe_load(said["models"])
    texts, models = said.pop("routes"), _taken(lines)
    said["models"] = yaml.safe_dump(lines, sort_keys=False)
    for route in host["routes"]:
        match = route["match"]
        match["headers"] = [header for header in match["headers"] if header["name"] != "x-extproc-route"]
        if not match["headers"]:
            del match["headers"]
        if (name := route["name"]) in texts:
            any_of = "|".join(re.escape(model).replace(r"\*", ".+") for model in models[name])
            match["headers"] = [{"name": "x-extproc-model", "string_match": {"safe_regex": {"regex": any_of}}}]
            route["metadata"] = _metadata("losses: report\n")
            cluster = clusters[route["route"]["cluster"]]
            for options in _options(cluster):
                options["http_filters"] = copy_all(filters)
            for endpoint in _lb_endpoints(cluster):
                endpoint["metadata"] = _metadata(texts[name].replace("losses: report\n", ""))
    return made


def _taken(lines: dict[str, Any]) -> dict[str, list[str]]:
    """Take the routes out of the *lines* of a list of models: the models of each."""
    models: dict[str, list[str]] = {}
    for name, about in lines.items():
        if about and (route := about.pop("route", "")):
            models.setdefault(route, []).append(about.get("model", name))
    return models


def answers_bounded(config: Mapping[str, Any]) -> dict[str, Any]:
    """*config*, in which no cluster has a filter of its own, with small bounds of what Envoy holds of an answer whose
    client does not read, and the same as ever of what it holds for the sidecar: requests, and answers that are no
    streams. Before a filter in a cluster these bounds crash Envoy: docs/envoy.md has what was seen."""
    made: dict[str, Any] = copy_all(config)
    for listener in made["static_resources"]["listeners"]:
        largest = listener["per_connection_buffer_limit_bytes"]
        listener["per_connection_buffer_limit_bytes"] = SMALL
        for manager in _managers(listener):
            http2 = manager["http2_protocol_options"]
            http2["initial_stream_window_size"] = SMALL_WINDOW
            http2.pop("max_outbound_frames", None)
            for host in manager["route_config"]["virtual_hosts"]:
                host["request_body_buffer_limit"] = largest
    for cluster in made["static_resources"]["clusters"]:
        if cluster["name"] == "extproc":
            for options in _options(cluster):
                options["explicit_http_config"]["http2_protocol_options"]["initial_stream_window_size"] = SMALL
    return made


def saying(config: Mapping[str, Any], line: str) -> dict[str, Any]:
    """*config* with *line* in the text of each route that names a provider."""
    made: dict[str, Any] = copy_all(config)
    for said in _said(made):
        if "route" in said:
            said["route"] = _with(said["route"], line)
        if "routes" in said:
            said["routes"] = {name: _with(text, line) for name, text in said["routes"].items()}
    return made


def _said(value: Any) -> Iterator[dict[str, Any]]:
    """What is said to the sidecar, wherever it stands in a configuration."""
    if isinstance(value, dict):
        metadata = value.get("filter_metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("extproc"), dict):
            yield metadata["extproc"]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _said(each)


def _with(text: str, line: str) -> str:
    return f"{text.rstrip()}\n{line}\n" if "provider:" in text else text


def _metadata(text: str) -> dict[str, Any]:
    return {"filter_metadata": {"extproc": {"route": text}}}


def write(config: Mapping[str, Any], path: Path) -> Path:
    """Write *config* as JSON, which is YAML too."""
    path.write_text(json.dumps(config, indent=1), "utf-8")
    return path


def _managers(listener: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for chain in listener["filter_chains"]:
        for item in chain["filters"]:
            yield item["typed_config"]


def _socket(address: Address) -> dict[str, Any]:
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def _log_to(listener: dict[str, Any], path: str) -> None:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    for manager in _managers(listener):
        for item in manager.get("access_log", []):
            item["name"] = "envoy.access_loggers.file"
            item["typed_config"].update({"@type": kind, "path": path})


def _options(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from cluster["typed_extension_protocol_options"].values()


def _lb_endpoints(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for locality in cluster["load_assignment"]["endpoints"]:
        yield from locality["lb_endpoints"]


def _endpoints(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in _lb_endpoints(cluster):
        yield item["endpoint"]


def _place_sidecar(cluster: dict[str, Any], sidecar: str | Address) -> None:
    for endpoint in _endpoints(cluster):
        endpoint["address"] = {"pipe": {"path": sidecar}} if isinstance(sidecar, str) else _socket(sidecar)
    if not isinstance(sidecar, str):
        cluster["type"] = _discovery(sidecar[0])


def _keep_real(cluster: dict[str, Any], real: Collection[str]) -> bool:
    """Whether *cluster* has endpoints in *real*; the others leave it then, because TLS is for all of a cluster."""
    localities = cluster["load_assignment"]["endpoints"]
    kept: list[dict[str, Any]] = []
    for locality in localities:
        hosts = [item["endpoint"]["address"]["socket_address"]["address"] for item in locality["lb_endpoints"]]
        if any(host in real for host in hosts):
            items = [item for host, item in zip(hosts, locality["lb_endpoints"], strict=True) if host in real]
            # Priorities must have no gap.
            priority = {"priority": len(kept)} if "priority" in locality else {}
            kept.append({**locality, **priority, "lb_endpoints": items})
    if kept:
        localities[:] = kept
    return bool(kept)


def _replace_upstreams(cluster: dict[str, Any], upstreams: Mapping[str, Address]) -> None:
    """The endpoints keep their host names (they become :authority); the connections go elsewhere, without TLS."""
    for endpoint in _endpoints(cluster):
        name = endpoint["address"]["socket_address"]["address"]
        address = upstreams[name]
        endpoint["address"] = _socket(address)
        endpoint["hostname"] = name
        cluster["type"] = _discovery(address[0])
    if cluster["type"] == "STATIC":
        cluster.pop("respect_dns_ttl", None)
    cluster.pop("transport_socket", None)
    for options in cluster.get("typed_extension_protocol_options", {}).values():
        if options.pop("auto_config", None) is not None:
            # HTTP/2, which this stands for, carries trailers without being told.
            options["explicit_http_config"] = {"http_protocol_options": {"enable_trailers": True}}


def _discovery(host: str) -> str:
    return "STATIC" if host.replace(".", "").isdigit() else "STRICT_DNS"


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main(arguments: list[str] | None = None) -> int:
    """``python -m extproc.reference.config FILE``: write the reference configuration with other addresses to FILE."""
    parser = argparse.ArgumentParser(prog="extproc.reference.config", description=main.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 10000), metavar="HOST:PORT")
    parser.add_argument("--admin", type=_address, default=("127.0.0.1", 9901), metavar="HOST:PORT")
    parser.add_argument("--sidecar", required=True, metavar="HOST:PORT|/SOCKET")
    parser.add_argument("--upstream", action="append", default=[], metavar="NAME=HOST:PORT")
    parser.add_argument(
        "--unless", action="append", default=[], metavar="NAME=VARIABLE", help="leave NAME be if VARIABLE is not empty"
    )
    args = parser.parse_args(arguments)
    unless = (item.partition("=") for item in args.unless)
    real = {name for name, _, variable in unless if os.environ.get(variable)}
    pairs = (item.partition("=") for item in args.upstream)
    upstreams = {name: _address(where) for name, _, where in pairs}
    sidecar = args.sidecar if args.sidecar.startswith("/") else _address(args.sidecar)
    made = rewrite(reference(), sidecar=sidecar, upstreams=upstreams, real=real, listen=args.listen, admin=args.admin)
    write(made, args.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
