"""Manifests of Envoy AI Gateway: AIGatewayRoute, AIServiceBackend and BackendSecurityPolicy, with the Backend and
BackendTLSPolicy of Envoy Gateway that they lean on (API versions v1alpha1 and v1beta1)."""

from __future__ import annotations

import json
import re
from typing import Any

from ..costs.counted import Cost
from ..costs.expression import ExpressionError
from ..gateway.envoy import Destination, Made, Wanted
from ..providers import PROVIDERS
from .apisix_multi import spread
from .patterns import is_re2

MODEL_HEADER = "x-ai-eg-model"
_KINDS = ("AIGatewayRoute", "AIServiceBackend", "BackendSecurityPolicy", "Backend", "BackendTLSPolicy")
_SILENT = ("GatewayClass", "Gateway", "EnvoyProxy", "Secret", "Namespace", "Deployment", "Service", "ConfigMap")
_HINTS = {
    "BackendTrafficPolicy": "its retry, load balancing and rate limits are Envoy's retry_policy, lb_policy and filters",
    "ClientTrafficPolicy": "its buffer limit and timeouts are the listener's; those of deploy/envoy.yaml are used",
    "MCPRoute": "MCP is not served here",
    "InferencePool": "endpoint picking is not served here: name the endpoints in a Backend",
}
_KEYS = {
    "APIKey": ("apiKey", "Authorization", "Bearer "),
    "AzureAPIKey": ("azureAPIKey", "api-key", ""),
    "AnthropicAPIKey": ("anthropicAPIKey", "x-api-key", ""),
}
_SIGNERS = {
    "GCPCredentials": "envoy.filters.http.gcp_authn",
    "AzureCredentials": "envoy.filters.http.credential_injector (OAuth2 client credentials)",
}
_SCHEMAS = {
    "AzureOpenAI": "azure-openai",
    "Anthropic": "anthropic",
    "GCPVertexAI": "vertex-ai",
    "GCPAnthropic": "vertex-anthropic",
    "AWSBedrock": "bedrock",
    "AWSAnthropic": "bedrock-anthropic",
    "Cohere": "cohere",
}
"""The provider that each speaks of; OpenAI's is spoken by many."""
_COSTS = {
    "InputToken": "input_tokens",
    "OutputToken": "output_tokens",
    "TotalToken": "total_tokens",
    "CachedInputToken": "cache_read_tokens",
    "CacheCreationInputToken": "cache_write_tokens",
    "ReasoningToken": "reasoning_tokens",
}
_DURATION = re.compile(r"(\d+)(h|ms|m|s)")
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def read(documents: list[dict[str, Any]], made: Made) -> None:
    """All of *documents* together: they refer to each other by name."""
    flat = [item for document in documents for item in document.get("items", [document])]
    known: dict[tuple[str, str, str], dict[str, Any]] = {}
    for item in flat:
        kind = str(item.get("kind", ""))
        if kind in _KINDS:
            known[kind, *_name(item)] = item
        elif kind not in _SILENT:
            made.note(f"{kind} {_name(item)[1]}", _HINTS.get(kind, "has no equivalent here, and is left out"))
    manifests = _Manifests(known, made)
    for (kind, _, _), item in known.items():
        if kind == "AIGatewayRoute":
            manifests.route(item)


def _name(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item.get("metadata", {})
    return str(metadata.get("namespace", "default")), str(metadata.get("name", ""))


def duration(text: str) -> str:
    """A Gateway API duration (``1h5m``) as Envoy writes it."""
    total = sum(int(number) * _UNIT[unit] for number, unit in _DURATION.findall(text))
    return f"{total:g}s"


class _Manifests:
    def __init__(self, known: dict[tuple[str, str, str], dict[str, Any]], made: Made) -> None:
        self.known = known
        self.made = made
        self.costs: dict[str, str] = {}
        """Of the route that is being read."""

    def route(self, item: dict[str, Any]) -> None:
        namespace, name = _name(item)
        spec = item.get("spec", {})
        where = f"AIGatewayRoute {name}"
        costs = {str(cost.get("metadataKey")): self._cost(cost, where) for cost in spec.get("llmRequestCosts", [])}
        self.costs = {key: written for key, written in costs.items() if written}
        for unused in ("rateLimitsFromHeaders", "filterConfig"):
            if unused in spec:
                self.made.note(f"{where}: {unused}", "has no equivalent here, and is left out")
        schema = spec.get("schema", {}).get("name", "OpenAI")
        if schema not in ("OpenAI", "Anthropic"):
            self.made.note(f"{where}: schema", f"clients that speak {schema} are not served")
        for number, rule in enumerate(spec.get("rules", [])):
            label = name if number == 0 else f"{name}_{number + 1}"
            self._rule(rule, label, namespace, spec.get("hostnames", []), f"{where}: rules[{number}]")

    def _cost(self, cost: dict[str, Any], where: str) -> str:
        """What ``metadata.costs`` says in its place; empty if nothing can."""
        key, kind = cost.get("metadataKey"), str(cost.get("type"))
        written = str(cost.get("cel", "")) if kind == "CEL" else _COSTS.get(kind, "")
        try:
            Cost(written)
        except ExpressionError as error:
            problem = str(error) if kind == "CEL" else "compute it from the members of extproc"
            self.made.note(f"{where}: llmRequestCosts.{key}", f"{kind}: {problem}")
            return ""
        return written

    def _rule(self, rule: dict[str, Any], name: str, namespace: str, hosts: list[str], where: str) -> None:
        wanted = Wanted(name, _matches(rule, self.made, where), [])
        wanted.domains = list(hosts) or ["*"]
        timeouts = rule.get("timeouts", {})
        if "request" in timeouts:
            wanted.action["max_stream_duration"] = {"max_stream_duration": duration(str(timeouts["request"]))}
        if "backendRequest" in timeouts:
            wanted.action.setdefault("retry_policy", {})["per_try_timeout"] = duration(str(timeouts["backendRequest"]))
        if "streamIdleTimeout" in rule:
            idle = duration(str(rule["streamIdleTimeout"]))
            wanted.action.setdefault("retry_policy", {})["per_try_idle_timeout"] = idle
        wanted.costs = dict(self.costs)
        wanted.models = _listed(rule, wanted.matches)
        references = rule.get("backendRefs", [])
        for number, reference in enumerate(references):
            wanted.targets += self._backend(reference, namespace, f"{where}.backendRefs[{number}]")
        spread(wanted.targets, self.made, where)
        if len({target.priority for target in wanted.targets}) > 1 or wanted.action.get("retry_policy"):
            wanted.retries = max(len(wanted.targets) - 1, 1)
            wanted.codes = [429, 500, 502, 503, 504]
            self.made.note(where, "retry_policy is that of deploy/envoy.yaml; a BackendTrafficPolicy is not read")
        if not wanted.matches:
            self.made.note(where, "none of its matches can be said here: left out")
        elif wanted.targets:
            _headers(references, wanted, self, namespace, where)
            self.made.wanted.append(wanted)
        else:
            self.made.note(where, "none of its backends can be served: left out")

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.known.get((kind, namespace, name))

    def service(self, reference: dict[str, Any], namespace: str) -> dict[str, Any] | None:
        return self.find("AIServiceBackend", str(reference.get("namespace", namespace)), str(reference.get("name")))

    def _backend(self, reference: dict[str, Any], namespace: str, where: str) -> list[Destination]:
        if reference.get("kind", "AIServiceBackend") != "AIServiceBackend":
            self.made.note(where, _HINTS["InferencePool"])
            return []
        service = self.service(reference, namespace)
        if service is None:
            self.made.note(where, f"there is no AIServiceBackend {reference.get('name')} in these files: left out")
            return []
        space, name = _name(service)
        spec = service.get("spec", {})
        schema = str(spec.get("schema", {}).get("name"))
        if schema != "OpenAI" and schema not in _SCHEMAS:
            self.made.note(f"AIServiceBackend {name}: schema", f"{schema} is not spoken here: left out")
            return []
        aimed = spec.get("backendRef") or {}
        there, called = str(aimed.get("namespace") or space), str(aimed.get("name"))
        backend = self.find("Backend", there, called)
        places = [place for item in (backend or {}).get("spec", {}).get("endpoints") or () if (place := _address(item))]
        if aimed.get("kind", "Service") == "Service" and backend is None and "port" in aimed:
            places = [(f"{called}.{there}.svc.cluster.local", int(aimed["port"]))]
        if not places:
            wanted_name = f"{there}/{called}"
            missing = "there is no Backend" if backend is None else "there is no address in the Backend"
            self.made.note(f"AIServiceBackend {name}: backendRef", f"{missing} {wanted_name} in these files: left out")
            return []
        tls, sni = self._tls(there, called, backend or {})
        policy = self._policy(spec, space, name)
        if schema.startswith("GCP") and not (policy or {}).get("spec", {}).get("gcpCredentials", {}).get("projectName"):
            self.made.note(
                f"AIServiceBackend {name}", "no BackendSecurityPolicy names its project and region: left out"
            )
            return []
        wanted_model = reference.get("modelNameOverride") or None
        weight, priority = int(reference.get("weight", 1)), int(reference.get("priority", 0))
        if weight == 0:
            self.made.note(f"{where}.weight", "0 means no traffic: left out")
            return []
        targets = []
        for host, port in places:
            level = self._level(spec, policy, host, port, tls, f"AIServiceBackend {name}")
            if wanted_model:
                level.setdefault("options", {})["model"] = wanted_model
            for source, at in ((spec, f"AIServiceBackend {name}"), (reference, where)):
                _body(source, level, self.made, at)
            targets.append(Destination(host, port, tls, level, weight, priority, sni if sni != host else ""))
        return targets

    def _tls(self, namespace: str, backend: str, object_: dict[str, Any]) -> tuple[bool, str]:
        """Whether a Backend is spoken to in TLS, and the name asked for."""
        own = object_.get("spec", {}).get("tls")
        if own is not None:
            if own.get("insecureSkipVerify"):
                self.made.note(f"Backend {backend}: tls.insecureSkipVerify", "is not taken over: it is verified here")
            for unused in ("caCertificateRefs", "clientCertificateRef"):
                if unused in own:
                    self.made.note(f"Backend {backend}: tls.{unused}", "put it into the cluster's common_tls_context")
            return True, str(own.get("sni") or "")
        for (kind, space, name), item in self.known.items():
            refs = item.get("spec", {}).get("targetRefs", [])
            if kind == "BackendTLSPolicy" and space == namespace and any(r.get("name") == backend for r in refs):
                validation = item["spec"].get("validation", {})
                if "caCertificateRefs" in validation:
                    self.made.note(f"BackendTLSPolicy {name}", "put its CA into validation_context.trusted_ca")
                return True, str(validation.get("hostname") or "")
        return False, ""

    def _policy(self, spec: dict[str, Any], namespace: str, service: str) -> dict[str, Any] | None:
        old = spec.get("backendSecurityPolicyRef", {}).get("name")
        for (kind, space, name), item in self.known.items():
            refs = item.get("spec", {}).get("targetRefs", [])
            aimed = any(ref.get("name") == service and ref.get("kind") == "AIServiceBackend" for ref in refs)
            if kind == "BackendSecurityPolicy" and space == namespace and (aimed or name == old):
                return item
        return None

    def _level(
        self, spec: dict[str, Any], policy: dict[str, Any] | None, host: str, port: int, tls: bool, where: str
    ) -> dict[str, Any]:  # fmt: skip
        schema = spec["schema"]
        name, prefix = schema["name"], schema.get("prefix")
        if prefix is None and name == "OpenAI":
            # Before there was `prefix`, `version` was it.
            prefix = schema.get("version")
        security = (policy or {}).get("spec", {})
        level: dict[str, Any] = {"provider": _provider(name, host)}
        default = PROVIDERS[level["provider"]].host
        url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}" + (
            "" if port == (443 if tls else 80) else f":{port}"
        )
        if name == "AzureOpenAI":
            # The path is made of the model that is sent, as Azure's deployments are named.
            if version := schema.get("version"):
                level["provider_conf"] = {"api_version": str(version)}
            else:
                self.made.note(where, "without a version, Azure's v1 API is used: /openai/v1/chat/completions")
            level["override"] = {"endpoint": url}
        elif name in ("GCPVertexAI", "GCPAnthropic"):
            gcp = security.get("gcpCredentials", {})
            level["provider_conf"] = {"project_id": gcp.get("projectName", ""), "region": gcp.get("region", "")}
            if name == "GCPVertexAI":
                # As there, by generateContent: its models are named without a maker.
                level["upstream"] = "gemini"
        elif name in ("AWSBedrock", "AWSAnthropic"):
            level["provider_conf"] = {"region": security.get("awsCredentials", {}).get("region", "us-east-1")}
        elif prefix is not None and prefix.strip("/") != "v1":
            end = "messages" if name == "Anthropic" else "chat/completions"
            level["override"] = {"endpoint": f"{url}/{prefix.strip('/')}/{end}".replace(f"{host}//", f"{host}/")}
            level["upstream"] = "anthropic_messages" if name == "Anthropic" else "openai_chat"
        elif host != default:
            level["override"] = {"endpoint": url}
        level["auth"] = self._auth(security, policy, where)
        return level

    def _auth(self, security: dict[str, Any], policy: dict[str, Any] | None, where: str) -> Any:
        kind = str(security.get("type", ""))
        if policy is None:
            return "none"
        label = f"BackendSecurityPolicy {_name(policy)[1]}"
        if "credentialOverride" in security:
            self.made.note(f"{label}: credentialOverride", "credentials by request have no equivalent here: left out")
        if kind in _KEYS:
            member, header, scheme = _KEYS[kind]
            secret = str(security.get(member, {}).get("secretRef", {}).get("name") or _name(policy)[1])
            variable = re.sub(r"\W", "_", secret).upper().lstrip("_0123456789")
            self.made.note(label, f"the key in Secret {secret} is expected as ${{{variable}}} in the sidecar's "
                           "environment (envFrom or secretKeyRef)")  # fmt: skip
            return {"header": {header: f"{scheme}${{{variable}}}"}}
        if kind == "AWSCredentials":
            self.made.note(label, "the keys are expected as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
                           "sidecar's environment, or in a shared credentials file; OIDC is left out")  # fmt: skip
            return {"aws": {"region": security.get("awsCredentials", {}).get("region", "us-east-1")}}
        if kind == "GCPCredentials" and "credentialsFile" in security.get("gcpCredentials", {}):
            self.made.note(label, "the service account's key is expected as GCP_SERVICE_ACCOUNT in the sidecar's "
                           "environment")  # fmt: skip
            return {"gcp": {}}
        filters = _SIGNERS.get(kind, "a filter of Envoy's that adds the credential")
        self.made.note(label, f"{kind}: set {filters} in the cluster's http_filters, behind extproc.translate if it "
                       "stands there, before upstream_codec; here it says auth: none")  # fmt: skip
        return "none"


def _provider(schema: str, host: str) -> str:
    if schema in _SCHEMAS:
        return _SCHEMAS[schema]
    known = {row.host: row.name for row in PROVIDERS.values() if row.host and "openai_chat" in row.dialects}
    name = known.get(host, "openai-compatible")
    return "openai-compatible" if name == "anthropic" else name


def _address(item: dict[str, Any]) -> tuple[str, int] | None:
    for kind, member in (("fqdn", "hostname"), ("ip", "address")):
        if kind in item:
            return str(item[kind][member]), int(item[kind]["port"])
    return None


def _matches(rule: dict[str, Any], made: Made, where: str) -> list[dict[str, Any]]:
    """None if there are some, and not one that can be said here."""
    given = rule.get("matches") or [{}]
    found = (_match(match, made, f"{where}.matches[{number}]") for number, match in enumerate(given))
    return [match for match in found if match is not None]


def _match(match: dict[str, Any], made: Made, where: str) -> dict[str, Any] | None:
    """One that says something which cannot be said here is left out: without that it would take more."""
    for unused in set(match) - {"headers", "path", "method", "queryParams", "name"}:
        made.note(f"{where}.{unused}", "has no equivalent here: what it is for is left out")
        return None
    path = match.get("path") or {}
    value, kind = str(path.get("value", "/")), path.get("type", "PathPrefix")
    beneath: dict[str, Any] = {"prefix": "/"} if value == "/" else {"path_separated_prefix": value.rstrip("/")}
    paths: dict[str, dict[str, Any]] = {
        "Exact": {"path": value},
        "RegularExpression": {"safe_regex": {"regex": value}},
        "PathPrefix": beneath,
    }
    made_of: dict[str, Any] = paths.get(kind, beneath)
    method = [{"name": ":method", "string_match": {"exact": str(match["method"])}}] if "method" in match else []
    headers = [*map(_asked, match.get("headers") or ()), *method]
    for header in headers:
        header["name"] = header["name"].lower()
        if header["name"] == MODEL_HEADER:
            header["name"] = "x-extproc-model"
    parameters = [*map(_asked, match.get("queryParams") or ())]
    asked = [made_of, *(item["string_match"] for item in (*headers, *parameters))]
    for pattern in (item["safe_regex"]["regex"] for item in asked if "safe_regex" in item):
        if not is_re2(pattern):
            made.note(where, f"{pattern!r} is no pattern of RE2's: what it is for is left out")
            return None
    named = {"headers": headers, "query_parameters": parameters}
    return {**made_of, **{member: listed for member, listed in named.items() if listed}}


def _asked(item: dict[str, Any]) -> dict[str, Any]:
    value = str(item.get("value"))
    matcher = {"safe_regex": {"regex": value}} if item.get("type") == "RegularExpression" else {"exact": value}
    return {"name": str(item.get("name")), "string_match": matcher}


def _exact_models(matches: list[dict[str, Any]]) -> list[str]:
    headers = [header for match in matches for header in match.get("headers", [])]
    models = [header["string_match"] for header in headers if header["name"] == "x-extproc-model"]
    return [str(matcher["exact"]) for matcher in models if "exact" in matcher]


def _body(source: dict[str, Any], level: dict[str, Any], made: Made, where: str) -> None:
    mutation = source.get("bodyMutation", {})
    for item in mutation.get("set", []):
        try:
            value = json.loads(item["value"])
        except ValueError:
            made.note(f"{where}: bodyMutation.set.{item['path']}", "its value is no JSON: left out")
            continue
        level.setdefault("options", {})[item["path"]] = value
    for name in mutation.get("remove", []):
        made.note(f"{where}: bodyMutation.remove.{name}", "members cannot be removed by a route: left out")
    if "responseBodyMutation" in source:
        made.note(f"{where}: responseBodyMutation", "has no equivalent here, and is left out")


def _headers(
    references: list[dict[str, Any]], wanted: Wanted, manifests: _Manifests, namespace: str, where: str
) -> None:
    """Header mutations, as the route's own: Envoy has none per endpoint."""
    sources = [(reference, manifests.service(reference, namespace)) for reference in references]
    owners = [owner for reference, service in sources for owner in ((service or {}).get("spec", {}), reference)]
    found = [owner["headerMutation"] for owner in owners if owner.get("headerMutation")]
    if not found:
        return
    if len(references) > 1:
        manifests.made.note(where, "headerMutation of one backend among several: put each into a cluster of its own, "
                            "with weighted_clusters; left out")  # fmt: skip
        return
    made = {
        header["name"]: _value(manifests.made, where, str(header["name"]), str(header["value"]))
        for mutation in found
        for header in mutation.get("set") or ()
    }
    if made:
        wanted.route["request_headers_to_add"] = [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in made.items()
        ]
    if removed := [name for mutation in found for name in mutation.get("remove", [])]:
        wanted.route["request_headers_to_remove"] = removed


_ACCOUNTS = ("openai-organization", "openai-project", "x-goog-user-project")
"""Headers that say whose account it is, and are no secret."""


def _value(made: Made, where: str, name: str, value: str) -> str:
    if name.lower() in _ACCOUNTS:
        return value
    return made.secret_of_envoys(f"{where}.headerMutation.{name}", name, value, "header")


def _listed(rule: dict[str, Any], matches: list[dict[str, Any]]) -> dict[str, dict[str, Any]] | None:
    """What GET /v1/models tells of the rule's models; ``None`` if it also takes others."""
    names = _exact_models(matches)
    if len(names) != len(matches):
        return None
    about = {"owned_by": rule.get("modelsOwnedBy"), "created": rule.get("modelsCreatedAt")}
    # Of a time its day.
    told = {key: str(value).partition("T")[0].partition(" ")[0] for key, value in about.items() if value is not None}
    return {name: dict(told) for name in names}
