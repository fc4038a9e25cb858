"""Routes and clusters as Envoy's configuration, in the frame of the reference configuration: what `extproc import` and
`extproc run` make."""

from __future__ import annotations

import copy
import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..headers import CREDENTIAL_HEADERS, MODEL_HEADER, ROUTE_HEADER
from ..reference import config as reference
from ..route.catalogue import is_route_name
from ..route.merge import as_object, merge
from ..route.model import COSTS_NAMESPACE, split_endpoint

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_KEYLIKE = re.compile(r"key|token|secret|auth|password|credential", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{[^}]+\}")
VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""A reference to the environment."""
_SCHEME = re.compile(r"(Bearer|Basic|Token)\s+", re.IGNORECASE)


class ImportFailed(Exception):
    """The input is not what it should be; the message is one line."""


@dataclass(frozen=True)
class Imported:
    yaml: str
    """A bootstrap for Envoy."""
    notes: list[str]
    """What the operator has to know: what has no equivalent, which secrets were replaced."""


@dataclass
class Destination:
    """One endpoint: a provider, with all that the sidecar wants to know of it."""

    host: str
    port: int
    tls: bool
    level: dict[str, Any]
    """The metadata of the endpoint."""
    weight: int = 1
    priority: int = 0
    """0 is asked first."""
    name: str = ""
    """What it is called in TLS and in ``:authority``, if not by its address."""
    health: dict[str, Any] | None = None
    """Envoy's ``health_check_config`` of the endpoint."""


@dataclass
class Wanted:
    """One route with the cluster that is its own."""

    name: str
    matches: list[dict[str, Any]]
    targets: list[Destination]
    domains: list[str] = field(default_factory=lambda: ["*"])
    level: dict[str, Any] = field(default_factory=dict)
    """The metadata of the route."""
    route: dict[str, Any] = field(default_factory=dict)
    """Members of the route beside its action."""
    action: dict[str, Any] = field(default_factory=dict)
    cluster: dict[str, Any] = field(default_factory=dict)
    http: dict[str, Any] = field(default_factory=dict)
    """Members of the cluster's ``common_http_protocol_options``."""
    models: dict[str, dict[str, Any]] | None = None
    """What the list of models tells of those that it is for; ``None``: it is not told."""
    costs: dict[str, str] = field(default_factory=dict)
    """Name in ``COSTS_NAMESPACE`` of Envoy's dynamic metadata -> the count of tokens that goes there."""
    retries: int = 0
    codes: list[int] = field(default_factory=list)
    verify: bool = True
    placement: str = "upstream"
    """Who translates. "upstream": a filter in its cluster, once per attempt. "named": the listener's own stream, since
    the line of a model names this route. "matched": the same, since Envoy finds this route without the model. Of the
    latter two all targets are one provider, and ``level`` with the first one's laid over it is the whole route."""

    @property
    def whole(self) -> dict[str, Any]:
        """All that is said of it, for the listener's own stream."""
        return _with_costs(merge(self.level, self.targets[0].level), self.costs)

    def alone(self, placement: str) -> None:
        """Have the listener's own stream translate for it."""
        self.placement = placement
        said = self.whole
        if "aws" in (as_object(said.get("auth")) or {}) or "endpoint" in said.get("override", {}):
            # The sidecar says the host: it is part of what is signed, or may have a port of its own.
            self.action["auto_host_rewrite"] = False


BODY_NAMESPACE = "llm.body"
"""Where ``json_to_metadata`` puts members of the body for the routes to match."""


def in_environment(value: str) -> str:
    """*value* with its references as Envoy writes them."""
    return VARIABLE.sub(r"%ENVIRONMENT(\1)%", value)


class Made:
    """What has been read so far."""

    def __init__(self, checks: bool = True) -> None:
        self.checks = checks
        """Whether clusters are to have active health checks."""
        self.wanted: list[Wanted] = []
        self.models: dict[str, dict[str, Any]] | None = None
        """The list of models of each virtual host, where it is not the sum of what the routes say."""
        self._members: list[str] = []
        self.notes: list[str] = []
        self._secrets: dict[str, str] = {}

    def note(self, path: str, text: str) -> None:
        line = f"{path}: {text}"
        if line not in self.notes:
            self.notes.append(line)

    def secret(self, path: str, name: str, value: str, provider: str) -> str:
        """*value* of the header or parameter *name*, a literal credential in it replaced by a reference."""
        if _REFERENCE.search(value) or not (name.lower() in CREDENTIAL_HEADERS or _KEYLIKE.search(name)):
            return value
        scheme = _SCHEME.match(value)
        prefix = scheme[0] if scheme else ""
        literal = value[len(prefix) :]
        if literal.lower().startswith("$env://"):
            return f"{prefix}${{{literal[7:]}}}"
        variable = self._variable(literal, provider)
        what = "a reference to a secret store" if literal.startswith("$secret://") else "the secret written here"
        self.note(path, f"{what} is replaced by ${{{variable}}}: set it in the sidecar's environment")
        return f"{prefix}${{{variable}}}"

    def secret_of_envoys(self, path: str, name: str, value: str, provider: str) -> str:
        """The same where Envoy adds the header: it looks the credential up in its own environment."""
        referred = self.secret(path, name, value, provider)
        if referred == value:
            return value
        self.note(path, "Envoy adds it: the variable must be in Envoy's environment")
        return in_environment(referred)

    def _models_of(self, wanted: list[Wanted]) -> dict[str, Any]:
        """The list of models of a virtual host with the routes of *wanted*, if every route says which are its."""
        routes = {item.name: _text(item.whole) for item in wanted if item.placement == "named"}
        found: dict[str, Any] | None = self.models
        if found is None:
            every = all(item.models for item in wanted)
            if not wanted or not (every or routes):
                return {}
            found = {}
            for item in wanted:
                leads = {"route": item.name} if item.placement == "named" else {}
                listed = (item.models or {}).items()
                found |= {name: {**about, **leads} for name, about in listed if name not in found}
            if not every:
                # Of the others Envoy's routes know.
                found["*"] = None
        says: dict[str, Any] = {"models": _text(found)}
        if routes:
            says["routes"] = routes
        return {"metadata": {"filter_metadata": {"extproc": says}}}

    def place(self) -> None:
        """Have the listener's own stream translate for each route whose targets are one provider, where it can tell by
        itself that the request is this route's."""
        _name_apart(self.wanted)
        hosts = [wanted for _, wanted in _hosts(self.wanted)]
        for item in self.wanted:
            before = [wanted[: wanted.index(item)] for wanted in hosts if item in wanted]
            if any(target.level != item.targets[0].level for target in item.targets):
                continue
            models = _models_alone(item.matches)
            if models and is_route_name(item.name):
                if not any(_may_take(other, models) for others in before for other in others):
                    item.models = {name: {} for name in models} | (item.models or {})
                    item.alone("named")
            elif not models and not any(_by_model(other.matches) for others in before for other in [*others, item]):
                item.alone("matched")
        for item in self.wanted:
            if item.placement == "named":
                item.matches = [{"prefix": "/", "headers": [matching(ROUTE_HEADER, {"exact": item.name})]}]

    def _variable(self, literal: str, provider: str) -> str:
        if literal not in self._secrets:
            base = re.sub(r"\W", "_", provider).upper() + "_API_KEY"
            self._secrets[literal] = free_name(base, self._secrets.values())
        return self._secrets[literal]

    def by_body(self, member: str, value: dict[str, Any]) -> dict[str, Any]:
        """A route's match of a *member* of the body, as ``model.name``, by Envoy's own metadata: *value* is a
        ValueMatcher."""
        if member not in self._members:
            self._members.append(member)
        return {"filter": BODY_NAMESPACE, "path": [{"key": member}], "value": value}

    def _body_filter(self) -> dict[str, Any]:
        rules: list[dict[str, Any]] = []
        for member in self._members:
            into: dict[str, Any] = {"metadata_namespace": BODY_NAMESPACE, "key": member}
            none: dict[str, Any] = {**into, "value": ""}
            rules.append({
                "selectors": [{"key": key} for key in member.split(".")],
                "on_present": into, "on_missing": none, "on_error": none,
            })  # fmt: skip
        kind = "type.googleapis.com/envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata"
        config = {"@type": kind, "request_rules": {"rules": rules}}
        return {"name": "envoy.filters.http.json_to_metadata", "typed_config": config}

    def config(self) -> dict[str, Any]:
        """All of it as a bootstrap. Raises ImportFailed if there is nothing."""
        if not self.wanted:
            raise ImportFailed("; ".join(self.notes) or "nothing here that this gateway could serve")
        config = reference.reference()
        resources = config["static_resources"]
        *_, sidecar = resources["clusters"]
        pattern = next(cluster for cluster in resources["clusters"] if cluster["name"] == "any_provider")
        for of_several in ("outlier_detection", "common_lb_config"):
            pattern.pop(of_several)
        retry = _route_named(config, "any_provider")["route"]["retry_policy"]
        nowhere = _route_named(config, "no_such_model")
        # What is about routes that the sidecar names is put back where there are any.
        nowhere["match"].pop("headers")
        listener = manager_of(config)["http_filters"][0]["typed_config"]
        listener["request_attributes"] = [a for a in listener["request_attributes"] if "['routes']" not in a]
        _name_apart(self.wanted)
        table = manager_of(config)["route_config"]
        table["virtual_hosts"] = [
            {
                "name": f"host_{number}",
                "domains": domains,
                **self._models_of(wanted),
                "routes": [*(route for one in wanted for route in _routes(one, retry)), reference.copy_all(nowhere)],
            }
            for number, (domains, wanted) in enumerate(_hosts(self.wanted))
        ]
        if named := [item.name for item in self.wanted if item.placement == "named"]:
            _translate_on_the_listener(config, named)
        if any(item.costs for item in self.wanted if item.placement != "upstream"):
            listener["metadata_options"]["receiving_namespaces"]["untyped"].append(COSTS_NAMESPACE)
        if self._members:
            manager_of(config)["http_filters"].insert(0, self._body_filter())
        resources["clusters"] = [*(_cluster(wanted, pattern) for wanted in self.wanted), sidecar]
        return config

    def done(self) -> Imported:
        """The same as a file, with each route where it costs least. Raises ImportFailed."""
        self.place()
        config = self.config()
        if all(item.placement != "upstream" for item in self.wanted):
            config = reference.answers_bounded(config)
        return Imported(written(config, "extproc import", self.notes), self.notes)


def _name_apart(wanted: list[Wanted]) -> None:
    """Give each a name of its own: it is that of a route and of a cluster."""
    taken: set[str] = {"extproc", "no_such_model"}
    for item in wanted:
        item.name = free_name(item.name, taken)
        taken.add(item.name)


def free_name(wanted: str, taken: Container[str]) -> str:
    """*wanted*, with a number behind it if that is *taken*."""
    names = (wanted if number == 1 else f"{wanted}_{number}" for number in range(1, 10_000))
    return next(name for name in names if name not in taken)


def _hosts(wanted: list[Wanted]) -> list[tuple[list[str], list[Wanted]]]:
    """The virtual hosts: each domain once, with the routes that are for it, then those that are for any."""
    anywhere = [item for item in wanted if "*" in item.domains]
    found: dict[str, list[Wanted]] = {}
    for item in wanted:
        for domain in item.domains:
            if domain != "*":
                found.setdefault(domain, []).append(item)
    hosts: list[tuple[list[str], list[Wanted]]] = []
    for domain, own in found.items():
        whole = own + [item for item in anywhere if item not in own]
        same = next((domains for domains, others in hosts if others == whole), None)
        if same is not None:
            same.append(domain)
        else:
            hosts.append(([domain], whole))
    return [*hosts, *([(["*"], anywhere)] if anywhere else [])]


def endpoint_parts(text: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS, of a URL. Raises ValueError."""
    parts = split_endpoint(text)
    tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if tls else 80), tls


def seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:g}s"


def leftovers(values: dict[str, Any], made: Made, path: str) -> None:
    """Note what no one has taken out of *values*."""
    for name in values:
        made.note(f"{path}{name}", "has no equivalent here, and is left out")


def _routes(wanted: Wanted, retry: dict[str, Any]) -> list[dict[str, Any]]:
    action = {"cluster": wanted.name, "auto_host_rewrite": True, "timeout": "0s", "idle_timeout": "600s"}
    action |= wanted.action
    if wanted.retries:
        policy = reference.copy_all(retry) | {"num_retries": wanted.retries}
        policy["retriable_status_codes"] = sorted({*wanted.codes, *([529] if 503 in wanted.codes else [])})
        if len({target.priority for target in wanted.targets}) == 1:
            policy.pop("retry_priority")
        if len(wanted.targets) > len({target.priority for target in wanted.targets}):
            # Not to the one again that has just failed; a heavy one may be drawn several times before another is.
            policy["retry_host_predicate"] = [_ANOTHER_HOST]
            policy["host_selection_retry_max_attempts"] = 50
        action["retry_policy"] = policy | wanted.action.get("retry_policy", {})
    base = dict(wanted.route)
    if wanted.placement == "upstream" and (level := _with_costs(wanted.level, wanted.costs)):
        base["metadata"] = metadata(level)
    if wanted.placement == "matched":
        base["metadata"] = metadata(wanted.whole)
        others = base.get("typed_per_filter_config", {})
        base["typed_per_filter_config"] = {**others, "extproc.listener": copy.deepcopy(_AS_TRANSLATOR)}
    made = []
    for number, match in enumerate(wanted.matches):
        name = wanted.name if number == 0 else f"{wanted.name}_{number + 1}"
        made.append({"name": name, "match": match, **reference.copy_all(base), "route": reference.copy_all(action)})
    return made


def _cluster(wanted: Wanted, pattern: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = reference.copy_all(pattern) | wanted.cluster
    made["name"] = wanted.name
    options = made["typed_extension_protocol_options"][_OPTIONS]
    options["common_http_protocol_options"] |= wanted.http
    if wanted.placement != "upstream":
        del options["http_filters"]
    elif wanted.costs:
        named = options["http_filters"][0]["typed_config"]["metadata_options"]["receiving_namespaces"]
        named["untyped"].append(COSTS_NAMESPACE)
    secure = [target for target in wanted.targets if target.tls]
    if len(secure) < len(wanted.targets):
        # Which HTTP version to speak is negotiated in TLS alone.
        options.pop("auto_config")
        options["explicit_http_config"] = {"http_protocol_options": {"enable_trailers": True}}
        tls = made["transport_socket"]["typed_config"]["common_tls_context"]
        tls["alpn_protocols"] = ["http/1.1"]
        if secure:
            plain = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": {"@type": _RAW}}
            made["transport_socket_matches"] = [
                {"name": "plain", "match": {"plain": True}, "transport_socket": plain},
                {"name": "tls", "match": {}, "transport_socket": made.pop("transport_socket")},
            ]
        else:
            made.pop("transport_socket")
    elif not wanted.verify:
        tls = made["transport_socket"]["typed_config"]
        tls.pop("auto_sni_san_validation")
        tls["common_tls_context"].pop("validation_context")
    made["load_assignment"] = {"cluster_name": wanted.name, "endpoints": _localities(wanted, bool(secure))}
    return made


def _with_costs(level: dict[str, Any], costs: dict[str, str]) -> dict[str, Any]:
    if not costs:
        return level
    told = {**level.get("metadata", {}), "namespace": COSTS_NAMESPACE, "costs": dict(costs)}
    return {**level, "metadata": told}


_AS_TRANSLATOR = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
    "overrides": {"grpc_initial_metadata": [{"key": "x-extproc-role", "value": "translator"}]},
}
_ANOTHER_HOST = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
_RAW = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"


def _localities(wanted: Wanted, some_tls: bool) -> list[dict[str, Any]]:
    # Envoy wants its priorities without gaps.
    ranks = {priority: rank for rank, priority in enumerate(sorted({t.priority for t in wanted.targets}))}
    places: dict[int, list[dict[str, Any]]] = {}
    for target in wanted.targets:
        address = {"socket_address": {"address": target.host, "port_value": target.port}}
        endpoint: dict[str, Any] = {"address": address, "hostname": target.name or target.host}
        if target.health:
            endpoint["health_check_config"] = target.health
        item: dict[str, Any] = {"endpoint": endpoint}
        if wanted.placement == "upstream":
            item["metadata"] = metadata(target.level)
        if target.weight > 1:
            item["load_balancing_weight"] = target.weight
        if some_tls and not target.tls:
            matched = item.setdefault("metadata", {}).setdefault("filter_metadata", {})
            matched["envoy.transport_socket_match"] = {"plain": True}
        places.setdefault(ranks[target.priority], []).append(item)
    return [{"priority": rank, "lb_endpoints": items} for rank, items in sorted(places.items())]


class _Block(str):
    """A text to be written as a block."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _NO_TEXT.match(text) else None)


_NO_TEXT = re.compile(r"[yYnN]\Z|[-+]?[0-9.]+[eE][-+]?[0-9]+\Z|0[xXoO][0-9A-Fa-f]+\Z")
"""Texts that Envoy's YAML takes for something else unless they are quoted, and Python's does not."""
_Dumper.add_representer(str, _as_text)
_Dumper.add_representer(_Block, lambda d, text: d.represent_scalar("tag:yaml.org,2002:str", str(text), style="|"))


def _text(values: dict[str, Any]) -> _Block:
    """*values* as the one string that Envoy hands on."""
    return _Block(yaml.dump(values, Dumper=_Dumper, sort_keys=False, width=110))


def metadata(level: dict[str, Any]) -> dict[str, Any]:
    """*level* as Envoy's metadata for the sidecar."""
    return {"filter_metadata": {"extproc": {"route": _text(level)}}}


def matching(header: str, value: dict[str, Any]) -> dict[str, Any]:
    """A route's match of a *header* by *value*, a StringMatcher."""
    return {"name": header, "string_match": value}


def _models_alone(matches: list[dict[str, Any]]) -> list[str]:
    """The models by whose names alone a route with *matches* is chosen; empty if it is chosen by more, or by less."""
    found = []
    for match in matches:
        headers = match.get("headers", [])
        exact = headers[0].get("string_match", {}).get("exact", "") if len(headers) == 1 else ""
        if match != {"prefix": "/", "headers": [matching(MODEL_HEADER, {"exact": exact})]} or "*" in exact:
            return []
        found.append(exact)
    return found


def _by_model(matches: list[dict[str, Any]]) -> bool:
    return any(header["name"] == MODEL_HEADER for match in matches for header in match.get("headers", []))


def _may_take(other: Wanted, models: list[str]) -> bool:
    """Whether a request for one of *models* may find *other* first."""
    exact = [
        None if header.get("invert_match") else header.get("string_match", {}).get("exact")
        for match in other.matches
        for header in match.get("headers", [])
        if header["name"] == MODEL_HEADER
    ]
    return len(exact) < len(other.matches) or any(name is None or name in models for name in exact)


def _translate_on_the_listener(config: dict[str, Any], names: list[str]) -> None:
    """Have the listener's filter asked for the texts of the routes *names*. What bears a key takes the route that it
    names, or none: every other route excludes the header that names one."""
    manager = manager_of(config)
    asked = manager["http_filters"][0]["typed_config"]["request_attributes"]
    asked += [f"xds.virtual_host_metadata.filter_metadata['extproc']['routes']['{name}']" for name in names]
    none = {"name": ROUTE_HEADER, "present_match": True, "invert_match": True}
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            headers = route["match"].setdefault("headers", [])
            if not any(header["name"] == ROUTE_HEADER for header in headers):
                headers.append(none)


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    """The listener's connection manager."""
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    found: dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


def _route_named(config: dict[str, Any], name: str) -> dict[str, Any]:
    routes = manager_of(config)["route_config"]["virtual_hosts"][0]["routes"]
    found: dict[str, Any] = next(item for item in routes if item["name"] == name)
    return found


def written(config: dict[str, Any], maker: str, notes: list[str]) -> str:
    """*config* as YAML, with a header that names who made it and what needs an eye."""
    lines = [f"Made by `{maker}`."]
    if "static_resources" in config:
        lines = [f"Made by `{maker}`, in the frame of deploy/envoy.yaml, where every setting is explained."]
    if notes:
        lines += ["", "What needs your eye:", *(f"- {note}" for note in notes)]
    header = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return f"{header}\n{yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=110)}"
