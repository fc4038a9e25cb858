"""A route of Apache APISIX's Admin API with the plugin ai-proxy or ai-proxy-multi."""

from __future__ import annotations

import copy
import re
from typing import Any

from ..providers import PROVIDERS
from .envoy import ImportFailed, Made, Target, Wanted, endpoint_parts, host_of, leftovers, seconds

PLUGINS = ("ai-proxy", "ai-proxy-multi")
PLACEHOLDER = "https://llm.example"
"""Where nothing says where."""
SERVER_ERRORS = [500, 502, 503, 504]
QUERY_KEYS = re.compile(r"([?&](?:[\w-]*key|[\w-]*token|sig)=)([^&]+)", re.IGNORECASE)

OTHER_PLUGINS = {
    "key-auth": "envoy.filters.http.api_key_auth, before the ext_proc filter",
    "jwt-auth": "envoy.filters.http.jwt_authn, before the ext_proc filter",
    "ai-rate-limiting": "envoy.filters.http.ratelimit with hits_addend from %DYNAMIC_METADATA(extproc:output_tokens)%",
    "limit-count": "envoy.filters.http.local_ratelimit or envoy.filters.http.ratelimit",
    "prometheus": "Envoy's /stats/prometheus",
    "cors": "envoy.filters.http.cors",
    "ip-restriction": "envoy.filters.http.rbac",
}
_PASSED = ("provider_conf", "options", "override", "logging", "max_response_bytes", "max_request_bytes")
GCP = {"service_account_json": "GCP_SERVICE_ACCOUNT"}
AWS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
_PASSIVE = {"http_failures": "consecutive_5xx", "tcp_failures": "consecutive_local_origin_failure"}


def read(documents: list[dict[str, Any]], made: Made) -> None:
    """Each of *documents* (a route, an answer of the Admin API, or a list of them)."""
    for number, route in enumerate(item for document in documents for item in _routes(document)):
        _route(copy.deepcopy(route), number, made)


def _routes(document: dict[str, Any]) -> list[dict[str, Any]]:
    for name in ("list", "routes"):
        if isinstance(document.get(name), list):
            return [item.get("value", item) for item in document[name]]
    found = document.get("value", document)
    return [found]


def _route(route: dict[str, Any], number: int, made: Made) -> None:
    plugins = route.pop("plugins", {})
    names = [name for name in PLUGINS if name in plugins]
    identity = str(route.pop("id", route.get("name", f"route_{number}")))
    name = re.sub(r"[^\w.-]", "_", str(route.pop("name", identity)))
    if not names:
        made.note(identity, "has neither ai-proxy nor ai-proxy-multi, and is left out")
        return
    plugin = plugins.pop(names[0])
    for other in plugins:
        hint = OTHER_PLUGINS.get(other)
        made.note(f"plugins.{other}", f"set {hint}" if hint else "has no equivalent here, and is left out")
    wanted = Wanted(name, _matches(route, made), [])
    wanted.domains = [str(host) for host in route.pop("hosts", [])] or [route.pop("host", "*")]
    for ignored in ("create_time", "update_time", "desc", "labels", "status"):
        route.pop(ignored, None)
    leftovers(route, made, "")
    path = f"plugins.{names[0]}"
    _shared(plugin, wanted, made, path)
    if names[0] == "ai-proxy":
        wanted.targets.append(_target(plugin, wanted, made, path))
    else:
        _multi(plugin, wanted, made, path)
    made.wanted.append(wanted)


# ---- which requests


def _matches(route: dict[str, Any], made: Made) -> list[dict[str, Any]]:
    uris = [str(uri) for uri in route.pop("uris", [])] or [str(route.pop("uri", "/*"))]
    headers = []
    methods = [str(method) for method in route.pop("methods", [])]
    if methods:
        headers.append({"name": ":method", "string_match": _one_of(methods)})
    parameters: list[dict[str, Any]] = []
    for condition in route.pop("vars", []):
        _condition(condition, headers, parameters, made)
    made_of: dict[str, Any] = {"headers": headers} if headers else {}
    if parameters:
        made_of["query_parameters"] = parameters
    return [
        {**({"prefix": uri[:-1]} if uri.endswith("*") else {"path": uri}), **copy.deepcopy(made_of)} for uri in uris
    ]


def _one_of(words: list[str]) -> dict[str, Any]:
    if len(words) == 1:
        return {"exact": words[0]}
    return {"safe_regex": {"regex": "|".join(map(re.escape, words))}}


def _condition(condition: Any, headers: list[dict[str, Any]], parameters: list[dict[str, Any]], made: Made) -> None:
    """One of ``vars``: a name, an operator, a value."""
    if isinstance(condition, list) and len(condition) == 3:
        name, operator, value = map(str, condition)
        match = {"==": {"exact": value}, "~~": {"safe_regex": {"regex": f".*(?:{value}).*"}}}.get(operator)
        if match and name == "post_arg.model":
            headers.append({"name": "x-extproc-model", "string_match": match})
            return
        if match and name.startswith("http_"):
            headers.append({"name": name[5:].replace("_", "-"), "string_match": match})
            return
        if match and name.startswith("arg_"):
            parameters.append({"name": name[4:], "string_match": match})
            return
        if name.startswith("post_arg."):
            made.note(f"vars.{name}", "match it by json_to_metadata and the route's dynamic_metadata; left out")
            return
    made.note("vars", f"the condition {condition!r} has no equivalent here, and is left out")


# ---- what both plugins have


def _shared(plugin: dict[str, Any], wanted: Wanted, made: Made, path: str) -> None:
    timeout = plugin.pop("timeout", 30000)
    wanted.action["idle_timeout"] = seconds(timeout)
    wanted.cluster["connect_timeout"] = seconds(timeout)
    if "max_stream_duration_ms" in plugin:
        duration = seconds(plugin.pop("max_stream_duration_ms"))
        wanted.action["max_stream_duration"] = {"max_stream_duration": duration}
    wanted.http["idle_timeout"] = seconds(plugin.pop("keepalive_timeout", 60000))
    if not plugin.pop("keepalive", True):
        wanted.http["max_requests_per_connection"] = 1
    if "keepalive_pool" in plugin:
        plugin.pop("keepalive_pool")
        made.note(f"{path}.keepalive_pool", "Envoy bounds all connections and not the idle ones "
                  "(circuit_breakers.thresholds[].max_connections): left at 4096")  # fmt: skip
    wanted.verify = bool(plugin.pop("ssl_verify", True))
    if not wanted.verify:
        made.note(f"{path}.ssl_verify", "certificates are not verified, as before: better put the CA into "
                  "validation_context.trusted_ca")  # fmt: skip
    for name in ("retries", "max_retries"):
        if name in plugin:
            wanted.retries = int(plugin.pop(name))
            wanted.codes = [429, *SERVER_ERRORS]
    if "max_req_body_size" in plugin:
        wanted.level["max_request_bytes"] = plugin.pop("max_req_body_size")
    for name in ("logging", "max_response_bytes"):
        if name in plugin:
            wanted.level[name] = plugin.pop(name)
    _logging(wanted.level, made, path)
    if "logging" in wanted.level and (moved := wanted.level["logging"].pop("override", None)):
        made.note(f"{path}.logging.override", f"does not belong into logging: {', '.join(moved)} is left out")


def _logging(level: dict[str, Any], made: Made, path: str) -> None:
    if "logging" in level:
        made.note(f"{path}.logging", "is kept and has no effect yet: what a summary tells is in the access log "
                  "(%DYNAMIC_METADATA(extproc:model)% and the like)")  # fmt: skip


# ---- one provider


def _target(instance: dict[str, Any], wanted: Wanted, made: Made, path: str) -> Target:
    provider = str(instance.pop("provider", ""))
    if provider not in PROVIDERS:
        raise ImportFailed(f"{path}.provider: {provider[:40]!r} is none of: {', '.join(PROVIDERS)}")
    level: dict[str, Any] = {"provider": provider}
    auth = instance.pop("auth", {})
    level |= {name: instance.pop(name) for name in _PASSED if name in instance}
    _logging(level, made, path)
    if "model" in instance:
        level.setdefault("options", {})["model"] = instance.pop("model")
    _auth(auth, level, provider, made, f"{path}.auth")
    host, port, tls = _where(provider, level, made, path)
    leftovers(instance, made, f"{path}.")
    return Target(host, port, tls, level)


def _auth(auth: dict[str, Any], level: dict[str, Any], provider: str, made: Made, path: str) -> None:
    found: dict[str, dict[str, str]] = {}
    for part in ("header", "query"):
        values = auth.pop(part, None) or {}
        if values:
            found[part] = {
                name: made.secret(f"{path}.{part}.{name}", name, str(value), provider) for name, value in values.items()
            }
    if not found and not auth and PROVIDERS[provider].auth_required:
        made.note(path, "names no credential: here it says auth: none, and the provider gets none")
    made_of: dict[str, Any] = dict(found)
    if "gcp" in auth:
        made_of["gcp"] = _references(auth.pop("gcp"), GCP, made, f"{path}.gcp")
    if "aws" in auth:
        made_of["aws"] = _references(auth.pop("aws"), AWS, made, f"{path}.aws")
    leftovers(auth, made, f"{path}.")
    level["auth"] = made_of or "none"


def _references(values: Any, variables: dict[str, str], made: Made, path: str) -> dict[str, Any]:
    """*values* with each of its secrets as a reference to the variable that usually holds it."""
    result = dict(values or {})
    for name, variable in variables.items():
        if name in result and "${" not in str(result[name]):
            result[name] = f"${{{variable}}}"
            made.note(f"{path}.{name}", f"the secret written here is replaced by ${{{variable}}}: set it in the "
                      "sidecar's environment")  # fmt: skip
    return result


def _where(provider: str, level: dict[str, Any], made: Made, path: str) -> tuple[str, int, bool]:
    override = level.get("override", {})
    endpoint = override.get("endpoint")
    if endpoint:
        override["endpoint"] = _without_keys(str(endpoint), provider, made, f"{path}.override.endpoint")
        try:
            return endpoint_parts(str(endpoint))
        except ValueError as error:
            raise ImportFailed(f"{path}.override.endpoint: {error}") from None
    host = host_of(provider, level.get("provider_conf", {}))
    if host is None:
        made.note(f"{path}.override.endpoint", f"provider {provider} needs one: put yours in place of {PLACEHOLDER}")
        level.setdefault("override", {})["endpoint"] = PLACEHOLDER
        return endpoint_parts(PLACEHOLDER)
    return host, 443, True


def _without_keys(endpoint: str, provider: str, made: Made, path: str) -> str:
    return QUERY_KEYS.sub(lambda found: found[1] + made.secret(path, "key", found[2], provider), endpoint)


# ---- ai-proxy-multi


def _multi(plugin: dict[str, Any], wanted: Wanted, made: Made, path: str) -> None:
    instances = plugin.pop("instances", [])
    if not instances:
        raise ImportFailed(f"{path}.instances: there is none")
    _balancer(plugin.pop("balancer", {}), wanted, made, f"{path}.balancer")
    _fallback(plugin.pop("fallback_strategy", []), len(instances), wanted, made, f"{path}.fallback_strategy")
    shared = plugin.pop("checks", None)
    checks = [instance.pop("checks", shared) for instance in instances]
    for number, instance in enumerate(instances):
        instance.pop("name", None)
        weight, priority = int(instance.pop("weight", 1)), int(instance.pop("priority", 0))
        target = _target(instance, wanted, made, f"{path}.instances[{number}]")
        # The other way round: here the largest is asked first, in Envoy the smallest.
        target.weight, target.priority = max(weight, 1), -priority
        if weight == 0 and len(instances) > 1:
            made.note(f"{path}.instances[{number}].weight", "Envoy's weights begin at 1: 0 became 1")
        wanted.targets.append(target)
    _checks(checks, wanted, made, f"{path}.checks")
    leftovers(plugin, made, f"{path}.")


def _balancer(balancer: dict[str, Any], wanted: Wanted, made: Made, path: str) -> None:
    algorithm = balancer.pop("algorithm", "roundrobin")
    on, key = str(balancer.pop("hash_on", "vars")), str(balancer.pop("key", ""))
    if algorithm == "chash":
        wanted.cluster["lb_policy"] = "RING_HASH"
        policy = _hash_policy(on, key)
        if policy is None:
            made.note(f"{path}.hash_on", f"{on} {key}: set the route's hash_policy; without one the choice is random")
        else:
            wanted.action["hash_policy"] = [policy]
    elif algorithm != "roundrobin":
        made.note(f"{path}.algorithm", f"{algorithm}: set the cluster's lb_policy; left at ROUND_ROBIN")
    leftovers(balancer, made, f"{path}.")


def _hash_policy(on: str, key: str) -> dict[str, Any] | None:
    if on in ("header", "headers"):
        return {"header": {"header_name": key.removeprefix("http_").replace("_", "-")}}
    if on == "cookie":
        return {"cookie": {"name": key.removeprefix("cookie_")}}
    if on == "vars" and key in ("remote_addr", "binary_remote_addr"):
        return {"connection_properties": {"source_ip": True}}
    if on == "vars" and key.startswith("arg_"):
        return {"query_parameter": {"name": key[4:]}}
    if on == "vars" and key.startswith("http_"):
        return {"header": {"header_name": key[5:].replace("_", "-")}}
    return None


def _fallback(strategy: Any, instances: int, wanted: Wanted, made: Made, path: str) -> None:
    words = [strategy] if isinstance(strategy, str) else list(strategy or [])
    codes = {"http_429": [429], "http_5xx": SERVER_ERRORS}
    found = sorted(code for word in words for code in codes.get(word, []))
    if found:
        wanted.codes = found
        wanted.retries = wanted.retries or instances - 1
    for word in words:
        if word not in codes:
            made.note(path, f"{word}: a used-up token quota cannot send a request to another instance here; an "
                      "unhealthy instance is left out by health_checks and outlier_detection")  # fmt: skip
    wanted.cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}


def _checks(checks: list[Any], wanted: Wanted, made: Made, path: str) -> None:
    first = next((item for item in checks if item), None)
    if first is None:
        return
    for target, mine in zip(wanted.targets, checks, strict=True):
        active = (mine or {}).get("active")
        if not active:
            target.health = {"disable_active_health_check": True}
            continue
        own = {"hostname": active.get("host"), "port_value": active.get("port")}
        target.health = {name: value for name, value in own.items() if value}
    checked = copy.deepcopy(first)
    if active := checked.pop("active", None):
        wanted.cluster["health_checks"] = [_active(active, made, f"{path}.active")]
    if passive := checked.pop("passive", None):
        unhealthy = passive.get("unhealthy", {})
        values = {_PASSIVE[name]: unhealthy.pop(name) for name in _PASSIVE if name in unhealthy}
        wanted.cluster["outlier_detection"] = values | {"base_ejection_time": "30s", "max_ejection_percent": 100}
        leftovers(unhealthy, made, f"{path}.passive.unhealthy.")
        leftovers(passive.get("healthy", {}), made, f"{path}.passive.healthy.")
    if any(item and item != first for item in checks):
        made.note(path, "Envoy checks all endpoints of a cluster alike but for host and port: the first one's is used")


def _active(active: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    healthy, unhealthy = active.pop("healthy", {}), active.pop("unhealthy", {})
    check: dict[str, Any] = {
        "timeout": f"{active.pop('timeout', 1):g}s",
        "interval": f"{healthy.pop('interval', 1):g}s",
        "unhealthy_interval": f"{unhealthy.pop('interval', 1):g}s",
        "healthy_threshold": healthy.pop("successes", 2),
        "unhealthy_threshold": unhealthy.pop("http_failures", unhealthy.pop("tcp_failures", 5)),
    }
    kind, where = active.pop("type", "http"), active.pop("http_path", "/")
    active.pop("host", None), active.pop("port", None)
    if kind == "tcp":
        check["tcp_health_check"] = {}
    else:
        http: dict[str, Any] = {"path": where}
        if codes := healthy.pop("http_statuses", None):
            http["expected_statuses"] = [{"start": code, "end": code + 1} for code in codes]
        if headers := active.pop("req_headers", None):
            pairs = [str(line).partition(":") for line in headers]
            http["request_headers_to_add"] = [{"header": {"key": k, "value": v.strip()}} for k, _, v in pairs]
        check["http_health_check"] = http
    leftovers(active, made, f"{path}.")
    leftovers(healthy, made, f"{path}.healthy.")
    leftovers(unhealthy, made, f"{path}.unhealthy.")
    return check
