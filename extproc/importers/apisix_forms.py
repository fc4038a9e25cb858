"""The forms in which APISIX's routes come, each read to the one of its Admin API: that API's answers, standalone files,
ADC's files, and the objects of its ingress controller."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..gateway.envoy import Made
from .apisix_vars import listed

Object = dict[str, Any]
_VARIABLE = re.compile(r"\$\{\{\s*(\w+)\s*(?::=([^}]*))?\}\}")
_LISTS = (
    "services",
    "plugin_configs",
    "global_rules",
    "consumers",
    "upstreams",
    "ssls",
    "consumer_groups",
    "stream_routes",
)
_SILENT = ("Gateway", "GatewayClass", "GatewayProxy", "Namespace", "Secret", "Service", "Deployment", "Consumer",
           "ConfigMap", "BackendTrafficPolicy", "IngressClass")  # fmt: skip


def routes(documents: list[Object], made: Made) -> Iterator[Object]:
    """Each route of all *documents*, complete: with the hosts and plugins that it has from elsewhere."""
    flat = [item for document in documents for item in _parts(_named(document, made))]
    if any("kind" in item and "apiVersion" in item for item in flat):
        yield from _of_kubernetes(flat, made)
        return
    services: dict[str, Object] = {}
    configs: dict[str, Object] = {}
    found: list[Object] = []
    for item in flat:
        for name in _LISTS:
            if name in item and name not in ("services", "plugin_configs") and item[name]:
                made.note(name, "are not read: only routes, services and plugin_configs are")
        services |= {_identity(service): service for service in item.get("services", ())}
        configs |= {_identity(config): config for config in item.get("plugin_configs", ())}
        if "routes" in item or any(name in item for name in _LISTS):
            found += item.get("routes", ())
            found += (
                _beneath(service, route) for service in item.get("services", ()) for route in service.get("routes", ())
            )
        elif "uri" in item or "uris" in item or "service_id" in item or "plugin_config_id" in item:
            found.append(item)
        elif "id" in item and "plugins" in item:
            # The Admin API tells a service and a plugin_config alike.
            services[_identity(item)] = configs[_identity(item)] = item
        else:
            found.append(item)
    for route in found:
        yield _complete(route, services, configs, made)


def _identity(item: Object) -> str:
    return str(item.get("id", item.get("name", "")))


def _parts(document: Object) -> list[Object]:
    """The objects that *document* lists, or itself."""
    if isinstance(node := document.get("node"), dict):
        # As APISIX 2 answers.
        return [item.get("value", item) for item in node.get("nodes") or [node]]
    if isinstance(document.get("list"), list):
        return [item.get("value", item) for item in document["list"]]
    if isinstance(document.get("items"), list):
        return list(document["items"])
    return [document.get("value", document)]


def _named(value: Any, made: Made) -> Any:
    """*value* with APISIX's variables (``${{NAME}}``) as the sidecar's."""
    if isinstance(value, dict):
        return {name: _named(item, made) for name, item in value.items()}
    if isinstance(value, list):
        return [_named(item, made) for item in value]
    if not isinstance(value, str):
        return value
    for name, default in _VARIABLE.findall(value):
        if default:
            made.note(f"${{{{{name}}}}}", "has a default, which is left out: set the variable")
    return _VARIABLE.sub(r"${\1}", value)


def _beneath(service: Object, route: Object) -> Object:
    """*route* of ADC's form, with what its service says."""
    own: Object = {"name": f"{service.get('name', 'service')}_{route['name']}"} if "name" in route else {}
    hosts = route.get("hosts") or service.get("hosts")
    if prefix := str(service.get("path_prefix") or "").rstrip("/"):
        own["uris"] = [f"{prefix}{uri}" for uri in route.get("uris") or [route.get("uri", "/*")]]
    plugins = {**(service.get("plugins") or {}), **(route.get("plugins") or {})}
    return {**route, **own, "plugins": plugins, **({"hosts": hosts} if hosts else {})}


def _complete(route: Object, services: dict[str, Object], configs: dict[str, Object], made: Made) -> Object:
    route = dict(route)
    identity = _identity(route)
    lower: list[Object] = []
    for key, known in (("service_id", services), ("plugin_config_id", configs)):
        reference = route.pop(key, None)
        if reference is None:
            continue
        found = known.get(str(reference))
        if found is None:
            made.note(f"{identity}: {key}", f"{reference} is not in these files: its plugins and hosts are not known")
        else:
            lower.append(found)
    plugins: Object = {}
    for item in lower:
        plugins |= item.get("plugins") or {}
        if item.get("hosts") and not route.get("hosts") and not route.get("host"):
            route["hosts"] = item["hosts"]
    route["plugins"] = {**plugins, **(route.get("plugins") or {})}
    return route


# ---- Kubernetes


def _of_kubernetes(objects: list[Object], made: Made) -> Iterator[Object]:
    configs = {
        _key(item): _plugins_of(item.get("spec", {}).get("plugins", ()), f"{item['kind']} {_key(item)[1]}", made)
        for item in objects
        if item.get("kind") in ("PluginConfig", "ApisixPluginConfig")
    }
    for item in objects:
        kind = str(item.get("kind"))
        if kind == "ApisixRoute":
            yield from _of_apisix_route(item, configs, made)
        elif kind == "HTTPRoute":
            policies = [other["spec"] for other in objects if _is_policy_of(other, item)]
            yield from _of_http_route(item, configs, policies, made)
        elif kind not in ("PluginConfig", "ApisixPluginConfig", "HTTPRoutePolicy", *_SILENT):
            made.note(f"{kind} {_key(item)[1]}", "has no equivalent here, and is left out")


def _key(item: Object) -> tuple[str, str]:
    metadata = item.get("metadata", {})
    return str(metadata.get("namespace", "default")), str(metadata.get("name", ""))


def _plugins_of(listed: Any, where: str, made: Made) -> Object:
    """Plugins as the controllers list them, by name; those that are switched off are none."""
    used = [item for item in listed or () if item.get("enable", True)]
    for item in used:
        if "secretRef" in item:
            made.note(f"{where}: plugins.{item['name']}.secretRef", f"what the Secret {item['secretRef']} says is not "
                      "read: put its members in, credentials as ${VARIABLE}")  # fmt: skip
    return {item["name"]: item.get("config") or {} for item in used}


def _of_apisix_route(item: Object, configs: dict[tuple[str, str], Object], made: Made) -> Iterator[Object]:
    space, name = _key(item)
    for number, rule in enumerate(item.get("spec", {}).get("http", ())):
        match = rule.get("match", {})
        plugins = _plugins_of(rule.get("plugins", ()), f"ApisixRoute {name}", made)
        for member in ("authentication", "timeout", "websocket"):
            if rule.get(member):
                made.note(f"ApisixRoute {name}: {member}", "has no equivalent here, and is left out")
        reference = rule.get("plugin_config_name")
        if reference is not None:
            found = configs.get((str(rule.get("plugin_config_namespace", space)), str(reference)))
            if found is None:
                made.note(f"ApisixRoute {name}", f"there is no ApisixPluginConfig {reference} in these files")
            plugins = {**(found or {}), **plugins}
        yield {
            "id": f"{name}_{rule.get('name', number)}",
            "uris": match.get("paths", ["/*"]),
            "plugins": plugins,
            "priority": rule.get("priority", 0),
            **{key: match[key] for key in ("hosts", "methods") if key in match},
            "vars": [_var(expr) for expr in match.get("exprs") or ()],
            **({"remote_addrs": match["remoteAddrs"]} if match.get("remoteAddrs") else {}),
            **({"filter_func": match["filter_func"]} if match.get("filter_func") else {}),
        }


_SUBJECTS = {
    "Header": "http_",
    "Query": "arg_",
    "Cookie": "cookie_",
    "Body": "post_arg.",
    "Variable": "",
    "Path": "uri",
}
_OPERATORS = {
    "Equal": "==", "NotEqual": "~=", "GreaterThan": ">", "GreaterThanEqual": ">=", "LessThan": "<",
    "LessThanEqual": "<=", "In": "in", "NotIn": "!in", "RegexMatch": "~~", "RegexNotMatch": "!~~",
    "RegexMatchCaseInsensitive": "~*", "RegexNotMatchCaseInsensitive": "!~*",
}  # fmt: skip


def _var(expr: Object) -> list[Any]:
    """An expression of an ApisixRoute as one of ``vars``; one that cannot be understood stays what nobody can."""
    subject, operator = expr.get("subject") or {}, _OPERATORS.get(str(expr.get("op")))
    prefix = _SUBJECTS.get(str(subject.get("scope")))
    if operator is None or prefix is None:
        return [expr]
    name = str(subject.get("name") or "")
    value = expr["set"] if operator.endswith("in") and expr.get("set") else expr.get("value")
    told = prefix + (name.lower().replace("-", "_") if prefix == "http_" else "" if prefix == "uri" else name)
    return [told, *(["!"] if operator[0] == "!" else []), operator.removeprefix("!"), value]


class UriPattern(str):
    """An ``uri`` that is a regular expression."""


def _is_policy_of(policy: Object, route: Object) -> bool:
    if policy.get("kind") != "HTTPRoutePolicy" or _key(policy)[0] != _key(route)[0]:
        return False
    refs = policy.get("spec", {}).get("targetRefs") or ()
    return any(ref.get("kind") == "HTTPRoute" and ref.get("name") == _key(route)[1] for ref in refs)


def _of_http_route(
    item: Object, configs: dict[tuple[str, str], Object], policies: list[Object], made: Made
) -> Iterator[Object]:
    space, name = _key(item)
    spec = item.get("spec", {})
    for number, rule in enumerate(spec.get("rules", ())):
        plugins: Object = {}
        for used in rule.get("filters", ()):
            reference = used.get("extensionRef", {})
            if reference.get("kind") != "PluginConfig":
                made.note(f"HTTPRoute {name}", f"the filter {used.get('type')} has no equivalent here, and is left out")
                continue
            found = configs.get((space, str(reference.get("name"))))
            if found is None:
                made.note(f"HTTPRoute {name}", f"there is no PluginConfig {reference.get('name')} in these files")
            plugins |= found or {}
        for index, match in enumerate(rule.get("matches") or [{}]):
            route = _of_match(match, f"{name}_{number}_{index}", spec.get("hostnames", []), plugins)
            for policy in policies:
                route["vars"] = [*route["vars"], *listed(policy.get("vars"))]
                route["priority"] = policy.get("priority", route.get("priority", 0))
            yield route


def _of_match(match: Object, name: str, hosts: list[str], plugins: Object) -> Object:
    path = match.get("path", {})
    value, kind = str(path.get("value", "/")), path.get("type", "PathPrefix")
    uris = [value] if kind == "Exact" else ["/*"] if value == "/" else [value.rstrip("/"), f"{value.rstrip('/')}/*"]
    if kind == "RegularExpression":
        uris = [UriPattern(value)]
    operator = {"RegularExpression": "~~"}
    conditions = [
        [f"http_{h['name'].lower().replace('-', '_')}", operator.get(h.get("type", ""), "=="), h["value"]]
        for h in match.get("headers", ())
    ]
    conditions += [
        [f"arg_{q['name']}", operator.get(q.get("type", ""), "=="), q["value"]] for q in match.get("queryParams", ())
    ]
    made: Object = {"id": name, "uris": uris, "plugins": plugins, "vars": conditions}
    if hosts:
        made["hosts"] = list(hosts)
    if "method" in match:
        made["methods"] = [match["method"]]
    return made
