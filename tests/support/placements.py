"""Envoy configurations for tests, all made from deploy/envoy.yaml itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from extproc.reference import config as envoy_config
from extproc.reference.config import two_streams as two_streams

OPENAI = "provider: openai\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\nlosses: report\n"
ANTHROPIC = "provider: anthropic\nauth: {header: {x-api-key: '${ANTHROPIC_API_KEY}'}}\nlosses: report\n"
HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def manager(config: dict[str, Any]) -> dict[str, Any]:
    """The connection manager of the one listener."""
    found: dict[str, Any] = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def routes(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The routes, in order."""
    found: list[dict[str, Any]] = manager(config)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def route(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in routes(config) if item["name"] == name)


def clusters(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in config["static_resources"]["clusters"]}


def http_options(cluster: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cluster["typed_extension_protocol_options"][_OPTIONS]
    return found


def set_text(target: dict[str, Any], text: str) -> None:
    """Give a route or an endpoint *text* as its metadata for the sidecar."""
    target["metadata"] = {"filter_metadata": {"extproc": {"route": text}}}


def add_route(
    config: dict[str, Any], model: str, like: str, text: str | None = None, cluster: str | None = None
) -> dict[str, Any]:
    """A route for *model* before all others, otherwise as the route named *like*, by default with its metadata."""
    made: dict[str, Any] = envoy_config.copy_all(route(config, like))
    made["name"] = model
    hosts = one_streams_metadata(config)
    if hosts is not None and like in hosts["routes"]:
        text = hosts["routes"][like] if text is None else text
        _name_route(config, hosts, model, text, f"{model}: {{route: {model}}}\n")
        made["match"]["headers"] = [{"name": "x-extproc-route", "string_match": {"exact": model}}]
        made["route"]["cluster"] = cluster or made["route"]["cluster"]
        routes(config).insert(0, made)
        return made
    _match(made, {"exact": model})
    if cluster is not None:
        made["route"]["cluster"] = cluster
    if text is not None:
        set_text(made, text)
    routes(config).insert(0, made)
    return made


def add_cluster(config: dict[str, Any], name: str, like: str, port: int, text: str | None = None) -> dict[str, Any]:
    """A cluster of one endpoint on loopback, otherwise as the cluster *like*."""
    made: dict[str, Any] = envoy_config.copy_all(clusters(config)[like])
    made["name"] = made["load_assignment"]["cluster_name"] = name
    endpoint = made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    if text is not None:
        set_text(endpoint, text)
    config["static_resources"]["clusters"].append(made)
    return made


def add_model(config: dict[str, Any], name: str, port: int, text: str, like: str = "openai") -> None:
    """A model with a route and a cluster of its own, whose one endpoint on loopback is what *text* says."""
    behind = has_filter(config, like)
    add_cluster(config, name, like, port, text if behind else None)
    add_route(config, name, like, None if behind else text, cluster=name)


def add_alike(config: dict[str, Any], name: str, text: str, like: str = "openai") -> None:
    """A model with a route of its own, which says *text* on top of what *like* says."""
    beneath = "" if has_filter(config, like) else {"openai": OPENAI, "anthropic": ANTHROPIC}[like]
    add_route(config, name, like, beneath + text)


def lead(config: dict[str, Any], placed: Iterable[tuple[str, str, str]], attempts: bool = True) -> None:
    """Routes alone that lead from a prefix to a cluster, each with its text: where a filter of the cluster translates,
    on the endpoint of a cluster of its own. Without *attempts* Envoy makes one."""
    like, made, found = route(config, "openai"), [], clusters(config)
    for prefix, name, text in placed:
        cluster = found[name]
        if has_filter(config, name):
            cluster = envoy_config.copy_all(cluster)
            cluster["name"] = cluster["load_assignment"]["cluster_name"] = f"{name}{prefix}"
            set_text(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0], text)
            config["static_resources"]["clusters"].append(cluster)
        item = {**like, "name": prefix, "match": {"prefix": prefix}}
        item["route"] = {**like["route"], "cluster": cluster["name"]}
        item.pop("metadata", None)
        if cluster is found[name]:
            set_text(item, text)
        if not attempts:
            item["route"]["retry_policy"] = {"num_retries": 0}
        made.append(item)
    routes(config)[:] = made


def has_filter(config: dict[str, Any], name: str) -> bool:
    """Whether a filter in the cluster *name* translates."""
    return "http_filters" in http_options(clusters(config)[name])


def _match(item: dict[str, Any], string_match: dict[str, Any]) -> None:
    if "dynamic_metadata" in item["match"]:
        item["match"]["dynamic_metadata"][0]["value"]["string_match"] = string_match
    else:
        item["match"]["headers"] = [{"name": "x-extproc-model", "string_match": string_match}]


def on_listener(config: dict[str, Any]) -> dict[str, Any]:
    """*config* with translation on the listener, as Envoy Gateway has it: one filter, one provider per route.

    The routes are chosen by Envoy itself (json_to_metadata), so no router role is needed.
    """
    made = two_streams(config)
    for cluster in made["static_resources"]["clusters"]:
        options = http_options(cluster)
        translate = options.pop("http_filters", None)
        if translate:
            taken = translate[0]
        for locality in cluster["load_assignment"]["endpoints"]:
            for endpoint in locality["lb_endpoints"]:
                endpoint.pop("metadata", None)
    taken["typed_config"]["response_attributes"] = ["response.code_details"]
    # The sidecar asks for what it wants of a response once the request has come to it.
    mode = taken["typed_config"]["processing_mode"]
    mode |= {"response_header_mode": "SKIP", "response_body_mode": "NONE", "response_trailer_mode": "SKIP"}
    manager(made)["http_filters"] = [_model_to_metadata(), taken, manager(made)["http_filters"][-1]]
    del manager(made)["route_config"]["virtual_hosts"][0]["metadata"]  # the router's list of models
    for item in routes(made):
        _match_by_metadata(item)
    set_text(route(made, "openai"), OPENAI)
    set_text(route(made, "anthropic"), ANTHROPIC)
    # Envoy answers here by itself; the filter sees the request all the same and asks for a provider.
    set_text(route(made, "no_such_model"), "provider: openai\nauth: none\n")
    routes(made)[:] = [item for item in routes(made) if item["name"] != "any_provider"]
    return made


def bounded(config: dict[str, Any]) -> dict[str, Any]:
    """*config* without the model that several providers serve: no cluster has a filter, and unread answers a bound."""
    made: dict[str, Any] = envoy_config.copy_all(config)
    routes(made).remove(route(made, "any_provider"))
    made["static_resources"]["clusters"].remove(clusters(made)["any_provider"])
    return envoy_config.answers_bounded(made)


def _model_to_metadata() -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata"
    rule = {
        "selectors": [{"key": "model"}],
        "on_present": {"metadata_namespace": "llm", "key": "model"},
        "on_missing": {"metadata_namespace": "llm", "key": "model", "value": "-"},
        "on_error": {"metadata_namespace": "llm", "key": "model", "value": "-"},
    }
    config = {"@type": kind, "request_rules": {"rules": [rule]}}
    return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}


def _match_by_metadata(item: dict[str, Any]) -> None:
    """Match what the model's name is by Envoy's metadata in place of the router role's header."""
    headers = item["match"].pop("headers", None)
    if headers:
        value = {"string_match": headers[0]["string_match"]}
        item["match"]["dynamic_metadata"] = [{"filter": "llm", "path": [{"key": "model"}], "value": value}]


def one_streams_metadata(config: dict[str, Any]) -> dict[str, Any] | None:
    """What the virtual host says to the sidecar, if the router's stream translates."""
    host = manager(config)["route_config"]["virtual_hosts"][0].get("metadata", {})
    found: dict[str, Any] = host.get("filter_metadata", {}).get("extproc", {})
    return found if "routes" in found else None


def _name_route(config: dict[str, Any], host: dict[str, Any], name: str, text: str, line: str = "") -> None:
    host["routes"][name] = text
    host["models"] += line
    asked = manager(config)["http_filters"][0]["typed_config"]["request_attributes"]
    asked.append(f"xds.virtual_host_metadata.filter_metadata['extproc']['routes']['{name}']")
