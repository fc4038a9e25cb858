"""A route of Apache APISIX's Admin API with the plugin ai-proxy or ai-proxy-multi."""

from __future__ import annotations

import copy
import re
from typing import Any

from ..gateway.envoy import Destination, ImportFailed, Made, Wanted, endpoint_parts, leftovers, seconds
from ..providers import PROVIDERS
from ..route.model import COSTS_NAMESPACE
from . import apisix_forms, apisix_multi, apisix_policies
from .apisix_forms import UriPattern
from .apisix_multi import SERVER_ERRORS
from .apisix_vars import alternatives, listed, one_of

PLUGINS = ("ai-proxy", "ai-proxy-multi")
PLACEHOLDER = "https://llm.example"
"""Where nothing says where."""
MAX_TIMEOUT = 600_000
QUERY_KEYS = re.compile(r"([?&](?:[\w-]*key|[\w-]*token|sig)=)([^&]+)", re.IGNORECASE)

OTHER_PLUGINS = {
    "key-auth": "envoy.filters.http.api_key_auth, before the ext_proc filter",
    "jwt-auth": "envoy.filters.http.jwt_authn, before the ext_proc filter",
    "limit-count": "envoy.filters.http.local_ratelimit or envoy.filters.http.ratelimit",
    "prometheus": "Envoy's /stats/prometheus",
    "cors": "envoy.filters.http.cors",
    "http-logger": "the sidecar's --records-http, and logging in the routes: docs/observability.md",
    "kafka-logger": "the sidecar's --records-kafka (brokers), --records-kafka-topic, --records-kafka-key and "
    "--records-batch, and logging in the routes: docs/observability.md",
    "file-logger": "the sidecar's --records, and logging in the routes: docs/observability.md",
    "ip-restriction": "envoy.filters.http.rbac",
    "ai-aws-content-moderation": "the policy moderation with provider bedrock_guardrail: Comprehend is not asked here",
    "ai-content-moderation": "the policy moderation with provider bedrock_guardrail: Comprehend is not asked here",
    "ai-lakera-guard": "the policy moderation with provider webhook, and behind it what asks Lakera",
}
_PASSED = ("provider_conf", "options", "override", "logging", "max_response_bytes", "max_request_bytes")
GCP = {"service_account_json": "GCP_SERVICE_ACCOUNT"}
AWS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}


def read(documents: list[dict[str, Any]], made: Made) -> None:
    """Each route in *documents*, of any of APISIX's forms."""
    listed = [copy.deepcopy(route) for route in apisix_forms.routes(documents, made)]
    for number, route in sorted(enumerate(listed), key=lambda item: _rank(item[1])):
        _route(route, number, made)


def _rank(route: dict[str, Any]) -> tuple[float, bool, int]:
    """APISIX asks those of high priority first, then exact paths, then long ones."""
    uris = [str(uri) for uri in route.get("uris") or [route.get("uri", "/*")]]
    return -float(route.get("priority") or 0), any(uri.endswith("*") for uri in uris), -max(map(len, uris))


def _route(route: dict[str, Any], number: int, made: Made) -> None:
    plugins = route.pop("plugins", None) or {}
    names = [name for name in PLUGINS if name in plugins]
    identity = str(route.pop("id", route.get("name", f"route_{number}")))
    name = re.sub(r"[^\w.-]", "_", str(route.pop("name", identity)))
    if not names:
        made.note(identity, "has neither ai-proxy nor ai-proxy-multi, and is left out")
        return
    plugin = _of_today(plugins.pop(names[0]))
    meta = plugin.pop("_meta", None) or {}
    if meta.get("disable"):
        made.note(identity, f"has {names[0]} disabled, and is left out")
        return
    if meta.get("filter"):
        # A condition for the plugin alone: without it the request would go elsewhere.
        route["vars"] = ["AND", *listed(route.get("vars")), *listed(meta["filter"])]
        made.note(f"{identity}: plugins.{names[0]}._meta.filter", "is the route's own condition here")
    limits = plugins.pop("ai-rate-limiting", None)
    looked = {name: plugins.pop(name) for name in apisix_policies.PLUGINS if name in plugins}
    for other in plugins:
        hint = OTHER_PLUGINS.get(other)
        made.note(f"plugins.{other}", f"set {hint}" if hint else "has no equivalent here, and is left out")
    if str(route.pop("status", 1)) == "0":
        made.note(identity, "has status 0, and is left out")
        return
    matches = _matches(route, identity, made)
    if not matches:
        made.note(identity, "is left out: nothing here can tell its requests from others")
        return
    wanted = Wanted(name, matches, [])
    hosts = list(route.pop("hosts", None) or []) or [route.pop("host", None) or "*"]
    wanted.domains = list(dict.fromkeys(str(host).lower() for host in hosts))
    for ignored in ("create_time", "update_time", "desc", "labels", "priority"):
        route.pop(ignored, None)
    leftovers(route, made, "")
    path = f"plugins.{names[0]}"
    _shared(plugin, wanted, made, path)
    if names[0] == "ai-proxy":
        wanted.targets.append(_target(plugin, wanted, made, path))
    else:
        _multi(plugin, wanted, made, path)
    apisix_policies.policies(looked, wanted, made)
    if limits is not None:
        _limits(limits, wanted, made)
    made.wanted.append(wanted)


# ---- which requests


def _of_today(plugin: dict[str, Any]) -> dict[str, Any]:
    """The plugin as APISIX 3.12 and later have it. Before, `model` said provider, name and options, and `providers`
    were what `instances` are."""
    made = dict(plugin)
    if isinstance(model := made.get("model"), dict):
        del made["model"]
        made["provider"] = model.get("provider", "openai")
        name = {"model": model["name"]} if "name" in model else {}
        made["options"] = {**(model.get("options") or {}), **name, **(made.get("options") or {})}
    if "providers" in made and "instances" not in made:
        made["instances"] = [
            {"provider": each.get("name"), **each, "options": {**_named(each), **(each.get("options") or {})}}
            for each in made.pop("providers")
        ]
        for each in made["instances"]:
            each.pop("model", None)
    return made


def _named(instance: dict[str, Any]) -> dict[str, Any]:
    return {"model": instance["model"]} if isinstance(instance.get("model"), str) else {}


_NARROWS = ("remote_addr", "remote_addrs", "filter_func")
"""Members of a route that make it take less, and cannot be said here."""


def _matches(route: dict[str, Any], identity: str, made: Made) -> list[dict[str, Any]]:
    """None if no request is certain to be the route's."""
    uris = list(route.pop("uris", None) or []) or [str(route.pop("uri", None) or "/*")]
    needed = [*uris, *(route.get("hosts") or []), route.get("host"), *(route.get("methods") or [])]
    for word in (str(word) for word in needed if "${" in str(word)):
        made.note(identity, f"{word} stands in the environment, and is needed here: write it out")
        return []
    for name in _NARROWS:
        if route.pop(name, None):
            made.note(f"{identity}: {name}", "has no equivalent here, and without it the route would take more")
            return []
    headers = []
    methods = [str(method) for method in route.pop("methods", None) or []]
    if methods:
        headers.append({"name": ":method", "string_match": one_of(methods)})
    made_of = []
    for lists in alternatives(route.pop("vars", None), made, f"{identity}: vars"):
        asked = [*headers, *lists.pop("headers", ())]
        made_of.append({**({"headers": asked} if asked else {}), **lists})
    return [{**_path(uri), **copy.deepcopy(asked)} for uri in uris for asked in made_of]


def _path(uri: str) -> dict[str, Any]:
    if isinstance(uri, UriPattern):
        return {"safe_regex": {"regex": str(uri)}}
    if "/:" in uri:
        # radixtree's own names for a part of a path.
        parts = re.split(r"/:\w+", uri.removesuffix("*"))
        regex = "/[^/]+".join(map(re.escape, parts)) + (".*" if uri.endswith("*") else "")
        return {"safe_regex": {"regex": regex}}
    return {"prefix": uri[:-1]} if uri.endswith("*") else {"path": uri}


# ---- what both plugins have


def _shared(plugin: dict[str, Any], wanted: Wanted, made: Made, path: str) -> None:
    timeout = plugin.pop("timeout", 30000)
    if timeout > MAX_TIMEOUT:
        made.note(f"{path}.timeout", f"is more than APISIX allows ({MAX_TIMEOUT} ms), and kept")
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
    if "retries" in plugin:
        wanted.retries = int(plugin.pop("retries"))
        wanted.codes = [429, *SERVER_ERRORS]
    if "streaming_flush_interval_ms" in plugin:
        plugin.pop("streaming_flush_interval_ms")
        made.note(f"{path}.streaming_flush_interval_ms", "nothing to set: each piece goes on as it comes")
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
        made.note(f"{path}.logging", "is kept: say where the sidecar writes to, by its setting --records")
        if (level["logging"] or {}).get("summaries"):
            # What APISIX's own access log shows of each request, by the same names.
            level.setdefault("metadata", {})["variables"] = "all"


_FILTER = "envoy.filters.http.ratelimit"
_PER_ROUTE = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute"
_TOKENS = {"total_tokens": "total_tokens", "prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


def _limits(limits: dict[str, Any], wanted: Wanted, made: Made) -> None:
    """Token limits: what each request used is told to Envoy's rate limit filter when its stream is done."""
    strategy = str(limits.get("limit_strategy", "total_tokens"))
    count = _TOKENS.get(strategy)
    path = f"{wanted.name}: plugins.ai-rate-limiting"
    if count is None:
        made.note(path, f"limit_strategy {strategy} has no equivalent here: total_tokens are counted")
        count = "total_tokens"
    said = f"{limits.get('limit', 'its')} {count} in {limits.get('time_window', '?')} s"
    if limits.get("instances"):
        made.note(path, "limits of single instances have no equivalent here: the route's alone is told")
    if limits.get("rules"):
        made.note(path, "rules have no equivalent here: put their keys into the descriptor's actions")
    name = f"llm_{count.removesuffix('s')}"
    wanted.costs[name] = count
    actions = [{"generic_key": {"descriptor_key": "ai-rate-limiting", "descriptor_value": wanted.name}}]
    # Not in the route's own ``rate_limits``: there Envoy ignores hits_addend, and counts requests.
    limits_of_route = [
        # Asks whether anything is left; what was used is told when the stream is done.
        {"actions": actions, "hits_addend": {"number": 0}},
        {
            "actions": actions,
            "hits_addend": {"format": f"%DYNAMIC_METADATA({COSTS_NAMESPACE}:{name})%"},
            "apply_on_stream_done": True,
        },
    ]
    wanted.route["typed_per_filter_config"] = {_FILTER: {"@type": _PER_ROUTE, "rate_limits": limits_of_route}}
    made.note(path, f"the route asks and tells the tokens: set {_FILTER} on the listener, behind the sidecar's filter, "
              f"and in your rate limit service {said} for ai-rate-limiting={wanted.name}")  # fmt: skip


# ---- one provider


def _target(instance: dict[str, Any], wanted: Wanted, made: Made, path: str) -> Destination:
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
    _without_effect(level, provider, made, path)
    host, port, tls = _where(provider, level, made, path)
    if provider == "bedrock" and "bedrock_converse" not in PROVIDERS["bedrock"].dialects:
        made.note(path, "Bedrock is asked by its OpenAI-compatible API, not by Converse: see that it offers the model; "
                  "clients that speak Converse are not served")  # fmt: skip
    for unused in ("examples", "threshold"):
        if unused in instance:
            instance.pop(unused)
            made.note(f"{path}.{unused}", "nobody chooses by the prompt's meaning here; left out")
    leftovers(instance, made, f"{path}.")
    return Destination(host, port, tls, level)


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


def _without_effect(level: dict[str, Any], provider: str, made: Made, path: str) -> None:
    """Leave out what a route of ours refuses because it would be said in vain."""
    conf = level.get("provider_conf") or {}
    known = PROVIDERS[provider].conf_known | ({"region"} if "aws" in level["auth"] else set())
    level["provider_conf"] = {name: value for name, value in conf.items() if name in known}
    for name in conf:
        if name not in known:
            made.note(f"{path}.provider_conf.{name}", f"means nothing to provider {provider}; left out")
    if not level["provider_conf"]:
        del level["provider_conf"]
    override = level.get("override") or {}
    if override.get("request_body_force_override") and not override.get("request_body"):
        del override["request_body_force_override"]
        made.note(f"{path}.override.request_body_force_override", "has no effect without request_body; left out")


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
    host = PROVIDERS[provider].host_for(level.get("provider_conf", {}))
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
    apisix_multi.need_instances(instances, path)
    if (left := [i for i in instances if int(i.get("weight", 1)) == 0]) and len(left) < len(instances):
        names = ", ".join(str(instance.get("name", "one")) for instance in left)
        made.note(f"{path}.instances", f"weight 0 means no traffic: {names} is left out")
        instances = [instance for instance in instances if instance not in left]
    apisix_multi.balancer(plugin.pop("balancer", {}), wanted, made, f"{path}.balancer")
    apisix_multi.semantic(plugin, made, path)
    apisix_multi.fallback(plugin, len(instances), wanted, made, path)
    shared = plugin.pop("checks", None)
    checks = [instance.pop("checks", shared) for instance in instances]
    for number, instance in enumerate(instances):
        instance.pop("name", None)
        weight, priority = int(instance.pop("weight", 1)), int(instance.pop("priority", 0))
        target = _target(instance, wanted, made, f"{path}.instances[{number}]")
        # The other way round: here the largest is asked first, in Envoy the smallest.
        target.weight, target.priority = max(weight, 1), -priority * len(instances)
        wanted.targets.append(target)
    apisix_multi.spread(wanted.targets, made, f"{path}.instances")
    apisix_multi.checks(checks, wanted, made, f"{path}.checks")
    leftovers(plugin, made, f"{path}.")
