"""What ``ai-proxy-multi`` has beside its instances: who is asked first, who next, and whose health is checked."""

from __future__ import annotations

import copy
from typing import Any

from ..gateway.envoy import VARIABLE, Destination, ImportFailed, Made, Wanted, in_environment, leftovers

SERVER_ERRORS = [500, 502, 503, 504]
_PASSIVE = {"http_failures": "consecutive_5xx", "tcp_failures": "consecutive_local_origin_failure"}


def balancer(values: dict[str, Any], wanted: Wanted, made: Made, path: str) -> None:
    algorithm = values.pop("algorithm", "roundrobin")
    on, key = str(values.pop("hash_on", "vars")), str(values.pop("key", ""))
    if algorithm == "chash":
        wanted.cluster["lb_policy"] = "RING_HASH"
        policy = _hash_policy(on, key)
        if policy is None:
            made.note(f"{path}.hash_on", f"{on} {key}: set the route's hash_policy; without one the choice is random")
        else:
            wanted.action["hash_policy"] = [policy]
    elif algorithm == "semantic":
        made.note(f"{path}.algorithm", "semantic: nobody chooses by the prompt's meaning here; left at ROUND_ROBIN")
    elif algorithm != "roundrobin":
        made.note(f"{path}.algorithm", f"{algorithm}: set the cluster's lb_policy; left at ROUND_ROBIN")
    leftovers(values, made, f"{path}.")


def semantic(plugin: dict[str, Any], made: Made, path: str) -> None:
    if "semantic_opts" in plugin:
        plugin.pop("semantic_opts")
        made.note(f"{path}.semantic_opts", "nobody chooses by the prompt's meaning here; left out")


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


def fallback(plugin: dict[str, Any], instances: int, wanted: Wanted, made: Made, path: str) -> None:
    """When another instance is asked, and how often."""
    strategy = plugin.pop("fallback_strategy", [])
    words = [strategy] if isinstance(strategy, str) else list(strategy or [])
    statuses = [int(status) for status in plugin.pop("fallback_http_statuses", None) or ()]
    limit = plugin.pop("max_retries", None)
    codes = {"http_429": [429], "http_5xx": SERVER_ERRORS}
    found = sorted({*(code for word in words for code in codes.get(word, [])), *statuses})
    if found and wanted.retries == 0:
        wanted.codes = found
        wanted.retries = min(int(limit), instances - 1) if limit is not None else instances - 1
    elif limit is not None and not found:
        made.note(f"{path}.max_retries", "has no effect without fallback_strategy, as before")
    for word in words:
        if word not in codes:
            said = "a used-up token quota cannot send a request to another instance here; an unhealthy instance is left"
            made.note(f"{path}.fallback_strategy", f"{word}: {said} out by health_checks and outlier_detection")
    if "retry_on_failure_within_ms" in plugin:
        plugin.pop("retry_on_failure_within_ms")
        made.note(f"{path}.retry_on_failure_within_ms", "a slow failure is tried again here as well: "
                  "retry_policy.per_try_timeout bounds an attempt, not which of them is repeated")  # fmt: skip
    wanted.cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}


def spread(targets: list[Destination], made: Made, path: str) -> None:
    """Give each of several instances at one address a priority of its own: of one priority Envoy keeps one of them."""
    seen: set[tuple[str, int, int]] = set()
    for target in sorted(targets, key=lambda target: target.priority):
        while (target.host, target.port, target.priority) in seen:
            target.priority += 1
            made.note(path, "Envoy keeps one endpoint of an address in each priority: another at "
                      f"{target.host} is asked after the first, whatever its weight")  # fmt: skip
        seen.add((target.host, target.port, target.priority))


# ---- health


def checks(listed: list[Any], wanted: Wanted, made: Made, path: str) -> None:
    """Of each target of *wanted* its checks, in their order; ``None`` for one that has none."""
    first = next((item for item in listed if item), None)
    if first is None:
        return
    checked = copy.deepcopy(first)
    active = checked.pop("active", None)
    if active and not made.checks:
        made.note(f"{path}.active", "left out, as asked for")
    elif active:
        asked = [target for target, mine in zip(wanted.targets, listed, strict=True) if (mine or {}).get("active")]
        if made_of := _active(active, asked, made, f"{path}.active"):
            wanted.cluster["health_checks"] = [made_of]
            _place(listed, wanted)
    if passive := checked.pop("passive", None):
        unhealthy = passive.get("unhealthy", {})
        values = {_PASSIVE[name]: unhealthy.pop(name) for name in _PASSIVE if name in unhealthy}
        wanted.cluster["outlier_detection"] = values | {"base_ejection_time": "30s", "max_ejection_percent": 100}
        leftovers(unhealthy, made, f"{path}.passive.unhealthy.")
        leftovers(passive.get("healthy", {}), made, f"{path}.passive.healthy.")
    if any(item and item != first for item in listed):
        made.note(path, "Envoy checks all endpoints of a cluster alike but for host and port: the first one's is used")


def _place(listed: list[Any], wanted: Wanted) -> None:
    for target, mine in zip(wanted.targets, listed, strict=True):
        active = (mine or {}).get("active")
        if not active:
            target.health = {"disable_active_health_check": True}
            continue
        own = {"hostname": active.get("host"), "port_value": active.get("port")}
        target.health = {name: value for name, value in own.items() if value}


def _active(active: dict[str, Any], asked: list[Destination], made: Made, path: str) -> dict[str, Any] | None:
    healthy, unhealthy = active.pop("healthy", {}), active.pop("unhealthy", {})
    failures = [unhealthy.pop(name) for name in ("http_failures", "tcp_failures", "timeouts") if name in unhealthy]
    check: dict[str, Any] = {
        "timeout": f"{active.pop('timeout', 1):g}s",
        "interval": f"{healthy.pop('interval', 1):g}s",
        "unhealthy_interval": f"{unhealthy.pop('interval', 1):g}s",
        "healthy_threshold": healthy.pop("successes", 2),
        "unhealthy_threshold": min(failures, default=5),
    }
    kind, where = active.pop("type", "http"), active.pop("http_path", "/")
    method = active.pop("http_method", "GET")
    active.pop("host", None), active.pop("port", None)
    if len(set(failures)) > 1:
        made.note(f"{path}.unhealthy", "Envoy counts failures of every kind together: the smallest number is used")
    if unhealthy.pop("http_statuses", None):
        made.note(f"{path}.unhealthy.http_statuses", "for Envoy every status is unhealthy that is not expected")
    if kind == "tcp":
        check["tcp_health_check"] = {}
    else:
        http: dict[str, Any] = {"path": where}
        if method != "GET":
            http["method"] = method
        if codes := healthy.pop("http_statuses", None):
            http["expected_statuses"] = [{"start": code, "end": code + 1} for code in codes]
        headers = [_pair(str(line)) for line in active.pop("req_headers", None) or ()]
        headers = [
            (name, in_environment(made.secret_of_envoys(f"{path}.req_headers.{name}", name, value, "probe")))
            for name, value in headers
        ]
        named = {name.lower() for name, _ in headers}
        own = _credentials(asked, made, path) if named.isdisjoint(_CREDENTIALS) else []
        if own is None:
            return None
        headers += [(name, value) for name, value in own if name.lower() not in named]
        if headers:
            http["request_headers_to_add"] = [{"header": {"key": k, "value": v}} for k, v in headers]
        check["http_health_check"] = http
    leftovers(active, made, f"{path}.")
    leftovers(healthy, made, f"{path}.healthy.")
    leftovers(unhealthy, made, f"{path}.unhealthy.")
    return check


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


_CREDENTIALS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})
"""Headers by which a probe that bears one has its credential already."""


def _credentials(asked: list[Destination], made: Made, path: str) -> list[tuple[str, str]] | None:
    """What the probes of *asked* carry, ``None`` if they cannot carry what they need.

    Envoy's health checks know one set of headers for all of a cluster, and its own environment alone."""
    auths = [target.level.get("auth") for target in asked]
    if any(auth != auths[0] for auth in auths):
        made.note(path, "left out: Envoy's probes carry one credential for all endpoints of a cluster, and here each "
                  "has its own. Put them into clusters of their own, or rely on outlier_detection")  # fmt: skip
        return None
    auth = auths[0] if auths else None
    if not isinstance(auth, dict):
        return []
    if set(auth) - {"header"}:
        kinds = ", ".join(f"auth.{name}" for name in sorted(set(auth) - {"header"}))
        made.note(path, f"left out: a probe of Envoy's cannot carry {kinds}, and a provider that refuses it would be "
                  "taken for dead")  # fmt: skip
        return None
    values = [(name, str(value)) for name, value in auth["header"].items()]
    if any("${" in VARIABLE.sub("", value) for _, value in values):
        made.note(path, "left out: a probe of Envoy's can take its credential from the environment alone")
        return None
    names = sorted({name for _, value in values for name in VARIABLE.findall(value)})
    if names:
        made.note(path, f"the probe carries the credential: {', '.join(names)} must be in Envoy's environment as well")
    return [(name, in_environment(value)) for name, value in values]


def need_instances(instances: list[Any], path: str) -> None:
    if not instances:
        raise ImportFailed(f"{path}.instances: there is none")
