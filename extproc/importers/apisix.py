"""A route of Apache APISIX's Admin API with the plugin ai-proxy or ai-proxy-multi."""

from __future__ import annotations

import copy
import re
from typing import Any

from ..gateway.envoy import Destination, ImportFailed, Made, Wanted, endpoint_parts, leftovers, seconds
from ..providers import PROVIDERS
from ..route.model import COSTS_NAMESPACE
from . import apisix_forms, apisix_multi, apisix_policies
from .apisix_multi import SERVER_ERRORS

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
    plugins = route.pop("plugins", {})
    names = [name for name in PLUGINS if name in plugins]
    identity = str(route.pop("id", route.get("name", f"route_{number}")))
    name = re.sub(r"[^\w.-]", "_", str(route.pop("name", identity)))
    if not names:
        made.note(identity, "has neither ai-proxy nor ai-proxy-multi, and is left out")
        return
    plugin = plugins.pop(names[0])
    limits = plugins.pop("ai-rate-limiting", None)
    looked = {name: plugins.pop(name) for name in apisix_policies.PLUGINS if name in plugins}
    for other in plugins:
        hint = OTHER_PLUGINS.get(other)
        made.note(f"plugins.{other}", f"set {hint}" if hint else "has no equivalent here, and is left out")
    if str(route.pop("status", 1)) == "0":
        made.note(identity, "has status 0, and is left out")
        return
    wanted = Wanted(name, _matches(route, made), [])
    wanted.domains = [str(host) for host in route.pop("hosts", None) or []] or [str(route.pop("host", None) or "*")]
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


def _matches(route: dict[str, Any], made: Made) -> list[dict[str, Any]]:
    uris = [str(uri) for uri in route.pop("uris", None) or []] or [str(route.pop("uri", "/*"))]
    headers = []
    methods = [str(method) for method in route.pop("methods", None) or []]
    if methods:
        headers.append({"name": ":method", "string_match": _one_of(methods)})
    parameters: list[dict[str, Any]] = []
    metadata: list[dict[str, Any]] = []
    listed = route.pop("vars", None) or []
    for condition in _flat(listed if listed and isinstance(listed[0], str) else ["AND", *listed]):
        _condition(condition, headers, parameters, metadata, made)
    made_of: dict[str, Any] = {"headers": headers} if headers else {}
    if metadata:
        made_of["dynamic_metadata"] = metadata
    if parameters:
        made_of["query_parameters"] = parameters
    return [
        {**({"prefix": uri[:-1]} if uri.endswith("*") else {"path": uri}), **copy.deepcopy(made_of)} for uri in uris
    ]


def _one_of(words: list[str]) -> dict[str, Any]:
    if len(words) == 1:
        return {"exact": words[0]}
    return {"safe_regex": {"regex": "|".join(map(re.escape, words))}}


def _words(value: Any) -> list[str]:
    """A value, or each of a list of them, as text."""
    return [str(each) for each in (value if isinstance(value, list) else [value])]


def _flat(condition: Any) -> list[Any]:
    """One of ``vars`` as those that all must hold."""
    if isinstance(condition, list) and condition and condition[0] == "AND":
        return [each for part in condition[1:] for each in _flat(part)]
    return [condition]


def _either(condition: list[Any]) -> list[Any]:
    """``["OR", [NAME, "==", A], [NAME, "==", B]]`` as ``[NAME, "in", [A, B]]``; any other as it is."""
    parts = condition[1:]
    if condition[0] != "OR" or not all(isinstance(part, list) and len(part) == 3 for part in parts):
        return condition
    if len({str(part[0]) for part in parts}) != 1 or any(part[1] not in ("==", "in") for part in parts):
        return condition
    return [parts[0][0], "in", [word for part in parts for word in _words(part[2])]]


def _string_match(operator: str, value: Any) -> dict[str, Any] | None:
    if operator == "in" and (words := _words(value)):
        return _one_of(words)
    if isinstance(value, list):
        return None
    regex = f".*(?:{value}).*"
    matches: dict[str, dict[str, Any]] = {
        "==": {"exact": str(value)},
        "~~": {"safe_regex": {"regex": regex}},
        "~*": {"safe_regex": {"regex": f"(?i){regex}"}},
    }
    return matches.get(operator)


def _condition(
    condition: Any, headers: list[dict[str, Any]], parameters: list[dict[str, Any]], metadata: list[dict[str, Any]],
    made: Made,
) -> None:  # fmt: skip
    """One of ``vars``: a name, an operator, a value; ``!`` before the operator turns it round."""
    told = _either(condition) if isinstance(condition, list) and condition else condition
    inverted = isinstance(told, list) and len(told) == 4 and told[1] == "!"
    if isinstance(told, list) and (inverted or len(told) == 3):
        name, operator, value = str(told[0]), str(told[-2]), told[-1]
        if operator == "~=":
            operator, inverted = "==", not inverted
        match = _string_match(operator, value)
        header = name[5:].replace("_", "-") if name.startswith("http_") else ""
        header = "x-extproc-model" if name == "post_arg.model" else header
        if match and header:
            # In Lua what is not there is unlike any text.
            turned = {"invert_match": True, "treat_missing_header_as_empty": True} if inverted else {}
            headers.append({"name": header, "string_match": match, **turned})
            return
        if match and name.startswith("arg_") and not inverted:
            parameters.append({"name": name[4:], "string_match": match})
            return
        if match and name.startswith("cookie_") and operator in ("==", "in") and not inverted:
            words = "|".join(map(re.escape, _words(value)))
            regex = f"(?:.*;)?\\s*{re.escape(name[7:])}=(?:{words})\\s*(?:;.*)?"
            headers.append({"name": "cookie", "string_match": {"safe_regex": {"regex": regex}}})
            return
        if match and name.startswith("post_arg."):
            metadata.append(
                made.by_body(name.removeprefix("post_arg."), match) | ({"invert": True} if inverted else {})
            )
            return
    made.note("vars", f"the condition {condition!r} has no equivalent here, and is left out: the route takes more")


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
