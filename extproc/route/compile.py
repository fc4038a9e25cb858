"""The levels of metadata to a route: compiled once per distinct metadata, then only read.

Up to three levels speak: the route's metadata, over it the cluster's, over that the endpoint's. Mappings are laid into
mappings, anything else replaces. Two rules keep one provider's settings from another's: ``auth`` is never merged, so a
level that names ``provider`` or ``auth`` replaces it whole; and a level that names another provider than those below it
drops what they said about theirs (``override``, ``options.model``, ``provider_conf``, ``upstream``, ``quirks``,
``forward``, prices of its own).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from .. import capabilities, policy
from ..costs import prices
from ..costs.counted import USD, Cost
from ..credentials.permitted import EVERYTHING, Permitted
from ..credentials.secrets import Secret
from ..names import allowed, may_carry_credential
from ..policy.base import Configured, PolicyError
from ..providers import CONVERSATIONS, EMBEDDINGS, PROVIDERS, STATELESS, kind_of
from .auth import Credentials, Secrets, credentials
from .cache import TextCache
from .merge import merge
from .model import COSTS_NAMESPACE, TABLE, checked, split_endpoint
from .route import PORTS, EndpointUrl, Logged, Route, not_spoken
from .served import ServedRoute, origin
from .shown import shown, wrong
from .text import RouteError, choose, read

LEVELS = ("route", "cluster", "endpoint")
MAX_CACHED = 4096
"""Distinct routes that are kept compiled."""

_NUMBERS = frozenset(
    {"temperature", "top_p", "min_p", "top_a", "presence_penalty", "frequency_penalty", "repetition_penalty"}
)
_INTEGERS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "top_k", "seed", "n", "top_logprobs", "dimensions"}
)
_BOOLEANS = frozenset({"stream", "logprobs", "parallel_tool_calls", "store", "background", "include_reasoning"})
_TRAITS = frozenset({"llm_tool_count", "llm_end_user_id"})
_encode = msgspec.json.Encoder().encode


def compile_route(
    levels: Sequence[str | Mapping[str, Any] | None],
    *,
    environ: Mapping[str, str] | None = None,
    permitted: Permitted = EVERYTHING,
) -> Route:
    """The route that *levels* make: the metadata of route, cluster and endpoint, in this order, each as YAML or JSON
    text or as a mapping; ``None`` or empty where a level says nothing. Raises RouteError, and nothing else.

    Compiled routes, and the errors of wrong ones, are kept by their texts, at most ``MAX_CACHED``. *environ* is for
    tests: without it the process's environment is read, and only then is the outcome kept. *permitted*: the secrets
    that the texts may name.
    """
    if environ is not None:
        return _compile(levels, environ, permitted)
    key = _key(levels, permitted)
    found = _cache.get(key)
    if found is None:
        try:
            found = _compile(levels, os.environ, permitted)
        except RouteError as error:
            if error.transient or key is None:
                raise
            found = str(error)
        _cache.put(key, found)
    if isinstance(found, str):
        raise RouteError(found)
    return found


def compiled() -> list[dict[str, Any]]:
    """The routes that are kept, as ``shown`` has them, the one that was used last at the end."""
    found = []
    for key, outcome in _cache.items():
        if isinstance(outcome, str):
            found.append(wrong(outcome))
            continue
        found.append(shown(*laid([level.decode() if isinstance(level, bytes) else level for level in key[1:]])))
    return found


_cache: TextCache[Route | str] = TextCache(MAX_CACHED)
"""An error is kept as its text: an exception object would grow with each traceback."""


def _key(levels: Sequence[Any], permitted: Permitted) -> tuple[Permitted | str | bytes | None, ...] | None:
    """What *levels* are kept under; ``None`` for what is no JSON, which is refused anyway."""
    if len(levels) == 1 and isinstance(levels[0], str):
        # As it is for each request by far the most often.
        return permitted, levels[0]
    try:
        return (permitted, *[level if isinstance(level, str) or level is None else _encode(level) for level in levels])
    except Exception:
        return None


def _compile(levels: Sequence[Any], environ: Mapping[str, str], permitted: Permitted) -> Route:
    values, origin, _ = laid(levels)
    if "provider" not in values:
        raise RouteError(f"route: provider: no level names one{choose(None, PROVIDERS)}")
    return _Builder(values, origin, environ, permitted).route()


def laid(levels: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """What *levels* come to; for each top-level member the level that spoke of it last; and in the shape of the values
    the level that last said each. Raises RouteError."""
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    said: dict[str, Any] = {}
    for level, source in zip(LEVELS, levels, strict=False):
        if source is None or source == "":
            continue
        given = _level(read(source, level), level)
        _lay(given, values)
        origin |= dict.fromkeys(given, level)
        said = merge(said, _all_from(given, level))
    return values, origin, said


def _all_from(given: Mapping[str, Any], level: str) -> dict[str, Any]:
    """*given* with *level* in the place of each value."""
    return {k: _all_from(v, level) if isinstance(v, Mapping) and v else level for k, v in given.items()}


def _level(raw: dict[str, Any], level: str) -> dict[str, Any]:
    """One level, checked, with its numbers as numbers."""
    given = checked(raw, level)
    if "options" in given:
        given["options"] = _coerced(given["options"], f"{level}: options")
        model = given["options"].get("model", "-")
        if not isinstance(model, str) or not model:
            raise RouteError(f"{level}: options.model: expected the name of a model")
    bodies = given.get("override", {}).get("request_body", {})
    for dialect, body in bodies.items():
        bodies[dialect] = _coerced(body, f"{level}: override.request_body.{dialect}")
    if "other_paths" in given and level != LEVELS[0]:
        raise RouteError(f"{level}: other_paths: has no effect here; it belongs into the route's own metadata")
    if "quirks" in given:
        try:
            capabilities.packaged().find("", "", given["quirks"])
        except capabilities.CapabilityError as error:
            raise RouteError(f"{level}: {str(error).partition(';')[0]}") from None
    return given


def _coerced(members: dict[str, Any], path: str) -> dict[str, Any]:
    """*members* with numbers and truth values that came as text put right: Envoy's struct form turns 0.5 to "0.5"."""
    return {k: _as_its_type(k, v, path) if isinstance(v, str) else v for k, v in members.items()}


def _as_its_type(name: str, value: str, path: str) -> Any:
    try:
        if name in _INTEGERS:
            return int(value)
        if name in _NUMBERS:
            return _number(value)
    except ValueError:
        raise RouteError(f"{path}.{name}: expected a number") from None
    if name in _BOOLEANS:
        if value.lower() not in ("true", "false"):
            raise RouteError(f"{path}.{name}: expected true or false")
        return value.lower() == "true"
    return value


def _number(value: str) -> float | int:
    number = float(value)
    if number - number != 0:
        raise ValueError("not finite")
    return int(number) if number.is_integer() and "." not in value else number


def _lay(given: dict[str, Any], values: dict[str, Any]) -> None:
    """Lay one level over what the levels below it said. ``auth`` and another provider's settings do not shine through:
    provider A's key would stand beside provider B's."""
    if "provider" in given or "auth" in given:
        values.pop("auth", None)
    if "provider" in given and values.get("provider") not in (None, given["provider"]):
        for name in ("override", "provider_conf", "upstream", "quirks", "forward"):
            values.pop(name, None)
        values["options"] = {k: v for k, v in values.get("options", {}).items() if k != "model"}
        if isinstance(values.get("prices"), dict):
            values["prices"] = TABLE
    merged = merge(values, given)
    values.clear()
    values.update(merged)


class _Builder:
    """From the levels' merged values to a route."""

    def __init__(
        self, values: dict[str, Any], origin: dict[str, str], environ: Mapping[str, str], permitted: Permitted
    ) -> None:
        self.values = values
        self.origin = origin
        self.provider = PROVIDERS[values["provider"]]
        self.secrets = Secrets(environ, self.error, permitted)
        self.endpoint_secret: Secret | None = None

    def route(self) -> Route:
        values, provider = self.values, self.provider
        override = values.get("override", {})
        options = dict(values.get("options", {}))
        given = values.get("provider_conf", {})
        metadata = values.get("metadata", {})
        forward = values.get("forward", {})
        conf = {name: self.secrets.get(f"provider_conf.{name}", text).reveal() for name, text in given.items()}
        endpoint = self.endpoint(override.get("endpoint", ""))
        upstream = values.get("upstream")
        if upstream is not None and upstream not in provider.dialects:
            raise self.error("upstream", not_spoken(provider, upstream))
        if not (endpoint and endpoint.path):
            self.need_conf(conf, upstream)
        self.need_effect()
        who = self.auth(endpoint, conf)
        policies = self.policies()
        return Route(
            provider=provider,
            client=values.get("client"),
            upstream=upstream,
            model=options.pop("model", None),
            options=options,
            losses=values.get("losses", "allow"),
            quirks=values.get("quirks", {}),
            max_request_bytes=values.get("max_request_bytes"),
            max_response_bytes=values.get("max_response_bytes"),
            prefixes=values.get("prefixes", {}),
            policies=policies,
            forward_headers=allowed(forward.get("headers", [])),
            forward_query=allowed(forward.get("query", [])),
            usage=values.get("usage", "always"),
            duration=values.get("duration", "never"),
            endpoints=frozenset(values.get("endpoints", () if any(each.guards for each in policies) else STATELESS)),
            logging=_logged(values.get("logging", {})),
            costs=self.costs(metadata.get("costs", {})),
            prices=prices.own(priced) if isinstance(priced := values.get("prices"), dict) else priced,
            variables=tuple(metadata.get("variables", ())),
            tells_traits=not _TRAITS.isdisjoint(metadata.get("variables", ()))
            or values.get("logging", {}).get("summaries", False),
            costs_namespace=metadata.get("namespace", COSTS_NAMESPACE),
            provider_conf=conf,
            endpoint=endpoint,
            max_tokens=override.get("llm_options", {}).get("max_tokens"),
            request_body=override.get("request_body", {}),
            force_request_body=override.get("request_body_force_override", False),
            auth_headers=who.headers,
            auth_query=who.query,
            gcp=who.gcp,
            aws=who.aws,
            endpoint_secret=self.endpoint_secret,
            said=shown(values, {}, {})["route"] if values.get("logging", {}).get("payloads") else {},
        )

    def error(self, path: str, problem: str) -> RouteError:
        level = self.origin.get(path.partition(".")[0].partition("[")[0], LEVELS[0])
        return RouteError(f"{level}: {path}: {problem}")

    def costs(self, given: Mapping[str, Any]) -> dict[str, Cost]:
        made = {name: Cost(written) for name, written in given.items()}
        for name, cost in made.items():
            if cost.needs_usd and "prices" not in self.values:
                raise self.error(f"metadata.costs.{name}", f"{USD} is not known without `prices`: say `prices: table`")
        return made

    def policies(self) -> tuple[Configured, ...]:
        try:
            return policy.configured(self.values.get("policies", []), self)
        except PolicyError as error:
            raise self.error(error.path, error.problem) from None

    def secret(self, path: str, text: str) -> Secret:
        """For a policy: see ``policy.given.Operator``."""
        return self.secrets.get(path, text)

    def served(self, path: str, members: Mapping[str, Any], *, embeds: bool = False) -> ServedRoute:
        """For a policy: see ``policy.given.Operator``."""
        try:
            route = _compile([members], self.secrets.environ, self.secrets.permitted)
            client = (EMBEDDINGS if embeds else CONVERSATIONS)[0]
            spoken = route.target(client, None, route.model or "").dialect
            if kind_of(route.upstream or spoken) is not kind_of(client):
                what = "embeddings" if embeds else "conversations"
                raise RouteError(f"{LEVELS[0]}: {route.upstream or route.provider.name} is no API for {what}")
        except RouteError as error:
            begins = f"{LEVELS[0]}: "
            found = self.error(path, str(error).removeprefix(begins).replace(f"; {begins}", "; "))
            found.transient = error.transient
            raise found from None
        where = origin(route)
        if where is None:
            raise self.error(f"{path}.override.endpoint", f"is needed: no host is known of {route.provider.name}")
        return ServedRoute(route, where)

    def auth(self, endpoint: EndpointUrl | None, conf: Mapping[str, str]) -> Credentials:
        auth, provider = self.values.get("auth"), self.provider
        if auth is None and provider.auth_required:
            raise RouteError(
                f"{self.origin['provider']}: auth: provider {provider.name} needs one, beside `provider`: "
                f"auth: {provider.auth}, or `auth: none` when Envoy adds the credential"
            )
        return credentials(auth or {}, provider, endpoint.authority if endpoint else None, conf, self.secrets)

    def endpoint(self, text: str) -> EndpointUrl | None:
        if not text:
            return None
        try:
            self.endpoint_secret = self.secrets.get("override.endpoint", text)
            parts = split_endpoint(self.endpoint_secret.reveal())
        except ValueError as error:
            raise self.error("override.endpoint", str(error)) from None
        path = "" if parts.path == "/" else parts.path
        host = parts.hostname or ""
        secret = _secret_names(text, parts.query)
        return EndpointUrl(parts.scheme, host, parts.port or PORTS[parts.scheme], path, parts.query, secret)

    def need_effect(self) -> None:
        """Refuse what is said in vain: it would be taken for something that is done."""
        values = self.values
        override, metadata, logging = (values.get(name, {}) for name in ("override", "metadata", "logging"))
        auth = values.get("auth", {})
        known = self.provider.conf_known | ({"region"} if "aws" in auth else set())
        for name in values.get("provider_conf", {}):
            if name not in known:
                takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
                raise self.error(f"provider_conf.{name}", f"provider {self.provider.name} has no such member; {takes}")
        if override.get("request_body_force_override") and not override.get("request_body"):
            path = "override.request_body_force_override"
            raise self.error(path, "has no effect without override.request_body, whose members it lets win")
        if "namespace" in metadata and "costs" not in metadata:
            raise self.error("metadata.namespace", "has no effect without metadata.costs, the counts that go there")
        if "redact" in logging and not logging.keys() & {"summaries", "payloads", "span_content"}:
            others = "logging.summaries, logging.payloads or logging.span_content"
            raise self.error("logging.redact", f"has no effect without {others}")
        self.need_effect_of_keys(auth.get("aws", {}))

    def need_effect_of_keys(self, aws: Mapping[str, str]) -> None:
        fixed = any(aws.get(name) for name in ("access_key_id", "secret_access_key"))
        if aws.get("session_token") and not fixed:
            raise self.error("auth.aws.session_token", "has no effect without access_key_id and secret_access_key")
        for name in ("credentials_file", "profile"):
            if aws.get(name) and fixed:
                raise self.error(f"auth.aws.{name}", "has no effect beside access_key_id: give one or the other")

    def need_conf(self, conf: dict[str, str], upstream: str | None) -> None:
        dialects = [upstream] if upstream else [k for k, v in self.provider.dialects.items() if not v.explicit]
        needed = [name for dialect in dialects for name in self.provider.conf_needed(dialect, conf)]
        missing = [name for name in needed if not conf.get(name)]
        if missing:
            names = " and ".join(dict.fromkeys(missing))
            needs = f"provider {self.provider.name} needs {names}, or an override.endpoint with a path"
            raise RouteError(f"{self.origin['provider']}: provider_conf: {needs}")


def _logged(given: Mapping[str, Any]) -> Logged | None:
    said = [given.get(name, False) for name in ("summaries", "payloads", "span_content")]
    summaries, payloads, content = said
    return Logged(summaries, payloads, tuple(given.get("redact", ())), content) if any(said) else None


def _secret_names(written: str, query: str) -> frozenset[str]:
    """The parameters of an endpoint's *query* that are not to be seen. *written*: the endpoint before its references
    were resolved."""
    plain = {pair.partition("=")[0] for pair in written.partition("?")[2].split("&") if "${" not in pair}
    names = {pair.partition("=")[0] for pair in query.split("&") if pair}
    return frozenset(unquote_plus(name) for name in names if name not in plain or may_carry_credential(name))
