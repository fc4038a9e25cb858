"""What the operator configured for an exchange: compiled once per distinct metadata, then only read.

Up to three levels speak: the route's metadata, over it the cluster's, over that the endpoint's. Mappings are laid into
mappings, anything else replaces. Two rules keep one provider's settings from another's: ``auth`` is never merged, so a
level that names ``provider`` or ``auth`` replaces it whole; and a level that names another provider than those below it
drops what they said about theirs (``override``, ``options.model``, ``provider_conf``, ``upstream``, ``quirks``).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Any, Literal
from urllib.parse import quote, unquote_plus

import msgspec

from . import capabilities
from .credentials import MASK, Secret
from .credentials_aws import AwsAuth
from .credentials_gcp import GcpAuth
from .frozen import Frozen
from .llm.failures import Unsupported
from .providers import PROVIDERS, Provider
from .routeauth import Credentials, Secrets, credentials
from .routemodel import checked, split_endpoint
from .routetext import RouteError, choose, read, shown

__all__ = ["Route", "RouteError", "Target", "compile_route"]

LEVELS = ("route", "cluster", "endpoint")
MAX_CACHED = 4096
"""Distinct routes that are kept compiled."""
CLIENT_KEYS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "subscription-key"})
"""Parameters of a client's query that carry its own credential: never sent on."""
CLIENT_ONLY = frozenset({"beta", "alt"})
"""Parameters of a client's query that belong to its API: they mean nothing to another."""

_NUMBERS = frozenset(
    {"temperature", "top_p", "min_p", "top_a", "presence_penalty", "frequency_penalty", "repetition_penalty"}
)
_INTEGERS = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "top_k", "seed", "n", "top_logprobs", "dimensions"}
)
_BOOLEANS = frozenset({"stream", "logprobs", "parallel_tool_calls", "store", "background", "include_reasoning"})
_LIMITS = ("max_tokens", "max_completion_tokens")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


_MODEL = "{model}"


class Target(Frozen):
    """Where a request goes. ``path`` may bring a query of its own, and ``{model}`` where the model belongs. ``host`` is
    for ``:authority``, when the route names the upstream's own or signs for it; otherwise Envoy says it."""

    dialect: str
    path: str
    host: str | None = None

    def at(self, model: str) -> str:
        """The path for *model*, as it is sent. Raises Unsupported when the path needs one and there is none (B17)."""
        if _MODEL not in self.path:
            return self.path
        if not model:
            raise Unsupported("model", "model is required: the upstream's path names it", "invalid_value")
        if model in (".", ".."):
            # They cannot be escaped, and would lead to another path.
            raise Unsupported("model", "model is no name that a path can hold", "invalid_value")
        return self.path.replace(_MODEL, quote(model, safe=""))


class Endpoint(Frozen):
    """``override.endpoint`` in its parts; ``path`` is empty when it names none. The connection is Envoy's: what shapes
    the request is ``authority``, ``path`` and ``query``."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """The host, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self.scheme}://{self.authority}{self.path}{'?' + MASK if self.query else ''})"


_PORTS = {"http": 80, "https": 443}


class Route(Frozen):
    """A compiled route. Immutable: nothing that a request brings can change it (B10)."""

    provider: Provider
    client: str | None = None
    """The client's dialect, where it is not told by the request."""
    upstream: str | None = None
    model: str | None = None
    """Overrides the client's."""
    options: dict[str, Any] = {}
    """Members of the upstream's body, in place of the client's. Without ``model``."""
    losses: Literal["allow", "report", "reject"] = "allow"
    quirks: dict[str, Any] = {}
    """Members of ``Capabilities`` that differ here."""
    max_request_bytes: int | None = None
    max_response_bytes: int | None = None
    prefixes: dict[str, str] = {}
    """Dialect -> what stands before its paths."""
    logging: dict[str, bool] = {}
    costs: dict[str, str] = {}
    """Name in ``costs_namespace`` of Envoy's dynamic metadata -> the count of tokens that goes there."""
    costs_namespace: str = ""
    provider_conf: dict[str, str] = {}
    endpoint: Endpoint | None = None
    max_tokens: int | None = None
    """``override.llm_options.max_tokens``: the limit, whatever the client says."""
    request_body: dict[str, dict[str, Any]] = {}
    """Upstream's dialect -> members to lay into its body."""
    force_request_body: bool = False
    """``request_body`` also replaces what is there; else it only fills."""
    auth_headers: tuple[tuple[str, Secret], ...] = ()
    auth_query: tuple[tuple[str, Secret], ...] = ()
    gcp: GcpAuth | None = None
    aws: AwsAuth | None = None

    def __repr__(self) -> str:
        return f"Route(provider={self.provider.name!r}, upstream={self.upstream!r}, model={self.model!r})"

    def target(self, client: str, upstream: str | None = None) -> Target:
        """Where a request of dialect *client* goes: in the dialect *upstream*, else the route's, else the client's own
        if the provider speaks it, else the provider's first. Raises RouteError."""
        spoken = self.provider.dialects
        dialect = upstream or self.upstream
        if dialect is None:
            own = spoken.get(client)
            dialect = client if own is not None and not own.explicit else next(iter(spoken))
        elif dialect not in spoken:
            raise RouteError(f"route: upstream: {_not_spoken(self.provider, dialect)}")
        endpoint = self.endpoint
        path = endpoint.path if endpoint and endpoint.path else _path(self.provider, dialect, self.provider_conf)
        if endpoint is not None:
            return Target(dialect, path, endpoint.authority)
        return Target(dialect, path, self.aws.host if self.aws is not None else None)

    def query(self, path: str, client_path: str, *, passthrough: bool = False) -> str:
        """*path* with its query: the client's, overlaid by *path*'s own and the endpoint's, overlaid by ``auth.query``.

        A client's own credential never goes on; what only its API knows goes on with *passthrough* alone.
        The result holds secrets: it is not to be logged.
        """
        bare, _, own = path.partition("?")
        layers = [_pairs(client_path.partition("?")[2].partition("#")[0]), _pairs(own)]
        unwanted = CLIENT_KEYS if passthrough else CLIENT_KEYS | CLIENT_ONLY
        layers[0] = [(name, raw) for name, raw in layers[0] if name.lower() not in unwanted]
        if self.endpoint:
            layers.append(_pairs(self.endpoint.query))
        layers.append([(name, f"{quote(name)}={quote(value.reveal(), safe='')}") for name, value in self.auth_query])
        merged: list[tuple[str, str]] = []
        for layer in layers:
            names = {name for name, _ in layer}
            merged = [pair for pair in merged if pair[0] not in names] + layer
        return f"{bare}?{'&'.join(raw for _, raw in merged)}" if merged else bare

    def credentials(self) -> list[tuple[str, str]]:
        """The headers that say who we are, lower-case names; secrets in the clear. Raises NotReady."""
        headers = [(name, value.reveal()) for name, value in self.auth_headers]
        if self.gcp is not None:
            headers.append(("authorization", f"Bearer {self.gcp.token()}"))
        return headers

    def begin(self) -> Future[None] | None:
        """Have the credential fetched, if it is of the kind that must be. What to wait for before ``credentials`` are
        asked for, at most ``FIRST_TOKEN_SECONDS``; ``None`` when there is no need."""
        return self.gcp.begin() if self.gcp is not None else None

    def apply(self, members: dict[str, Any], dialect: str) -> dict[str, Any]:
        """The upstream body's top-level *members* with what the route sets, in this order: model, options,
        ``llm_options`` (always), ``request_body`` (fills, or replaces when forced) (D15-D17, D28-D30).

        *members* may hold ``msgspec.Raw``; what is not touched stays so. Neither *members* nor the route is changed.
        """
        wanted = dict(self.options) if self.model is None else {"model": self.model, **self.options}
        limits = {name for name in _LIMITS if name in wanted}
        limit = self._limit_name(dialect)
        if self.max_tokens is not None and limit:
            wanted[limit] = self.max_tokens
            limits = {limit}.intersection(_LIMITS)
        # Two limits side by side are an error to some servers and ambiguous to the rest.
        result = {k: v for k, v in members.items() if not limits or k not in _LIMITS or k in limits}
        result |= {name: value for name, value in wanted.items() if not _same(members.get(name, _ABSENT), value)}
        patch = self.request_body.get(dialect)
        if not patch:
            return result
        return _merge(result, patch) if self.force_request_body else _fill(result, patch)

    def _limit_name(self, dialect: str) -> str | None:
        spoken = self.provider.dialects.get(dialect)
        name = spoken.max_tokens if spoken else None
        return self.quirks.get("token_field", name) if dialect == "openai_chat" else name


_ABSENT = object()


def _same(old: Any, new: Any) -> bool:
    """Whether a member already says *new*, so that its bytes may stay."""
    return bytes(old) == _encode(new) if isinstance(old, msgspec.Raw) else False


def _object(value: Any) -> dict[str, Any] | None:
    """*value* as an object, read if it was not yet; ``None`` if it is none."""
    if isinstance(value, msgspec.Raw) and bytes(value).startswith(b"{"):
        value = _decode(value)
    return value if isinstance(value, dict) else None


def _merge(old: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Objects into objects, anything else replaces, ``null`` included (D29). Shares nothing mutable with *patch*."""
    result = dict(old)
    for name, value in patch.items():
        if isinstance(value, dict):
            below = _object(result.get(name))
            result[name] = _merge(below or {}, value)
        elif not _same(result.get(name, _ABSENT), value):
            result[name] = list(value) if isinstance(value, list) else value
    return result


def _fill(old: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is missing, at any depth; a ``null`` of the client's is not missing (D17)."""
    result = dict(old)
    for name, value in patch.items():
        if name not in result:
            result[name] = _merge({}, value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and (below := _object(result[name])) is not None:
            filled = _fill(below, value)
            if filled != below:
                result[name] = filled
    return result


def _pairs(query: str) -> list[tuple[str, str]]:
    """A query's parameters, each with its name decoded and its text as it was."""
    return [(unquote_plus(raw.partition("=")[0]), raw) for raw in query.split("&") if raw]


def compile_route(
    levels: Sequence[str | Mapping[str, Any] | None], *, environ: Mapping[str, str] | None = None
) -> Route:
    """The route that *levels* make: the metadata of route, cluster and endpoint, in this order, each as YAML or JSON
    text or as a mapping; ``None`` or empty where a level says nothing. Raises RouteError, and nothing else.

    Compiled routes, and the errors of wrong ones, are kept by their texts, at most ``MAX_CACHED``. *environ* is for
    tests: without it the process's environment is read, and only then is the outcome kept.
    """
    if environ is not None:
        return _compile(levels, environ)
    key = _key(levels)
    found = _cache.get(key)
    if found is None:
        try:
            found = _compile(levels, os.environ)
        except RouteError as error:
            if error.transient or key is None:
                raise
            found = str(error)
        _cache.put(key, found)
    if isinstance(found, str):
        raise RouteError(found)
    return found


class _Cache:
    """Outcomes by key, the least used one leaving first. An error is kept as its text: an exception object would grow
    with each traceback."""

    def __init__(self) -> None:
        self._found: OrderedDict[Any, Route | str] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any) -> Route | str | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: Any, found: Route | str) -> None:
        if key is None:
            return
        with self._lock:
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > MAX_CACHED:
                self._found.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._found.clear()

    def __len__(self) -> int:
        return len(self._found)


_cache = _Cache()


def _key(levels: Sequence[Any]) -> tuple[str | bytes | None, ...] | None:
    """What *levels* are kept under; ``None`` for what is no JSON, which is refused anyway."""
    try:
        return tuple(level if isinstance(level, str) or level is None else _encode(level) for level in levels)
    except Exception:
        return None


def _compile(levels: Sequence[Any], environ: Mapping[str, str]) -> Route:
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for level, source in zip(LEVELS, levels, strict=False):
        if source is None or source == "":
            continue
        given = _level(read(source, level), level)
        _lay(given, values)
        origin |= dict.fromkeys(given, level)
    if "provider" not in values:
        raise RouteError(f"route: provider: no level names one{choose(None, PROVIDERS)}")
    return _Builder(values, origin, environ).route()


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
        for name in ("override", "provider_conf", "upstream", "quirks"):
            values.pop(name, None)
        values["options"] = {k: v for k, v in values.get("options", {}).items() if k != "model"}
    merged = _merge(values, given)
    values.clear()
    values.update(merged)


class _Builder:
    """From the levels' merged values to a route."""

    def __init__(self, values: dict[str, Any], origin: dict[str, str], environ: Mapping[str, str]) -> None:
        self.values = values
        self.origin = origin
        self.provider = PROVIDERS[values["provider"]]
        self.secrets = Secrets(environ, self.error)

    def route(self) -> Route:
        values, provider = self.values, self.provider
        override = values.get("override", {})
        options = dict(values.get("options", {}))
        given = values.get("provider_conf", {})
        metadata = values.get("metadata", {})
        conf = {name: self.secrets.get(f"provider_conf.{name}", text).reveal() for name, text in given.items()}
        endpoint = self.endpoint(override.get("endpoint", ""))
        upstream = values.get("upstream")
        if upstream is not None and upstream not in provider.dialects:
            raise self.error("upstream", _not_spoken(provider, upstream))
        if not (endpoint and endpoint.path):
            self.need_conf(conf, upstream)
        who = self.auth(endpoint, conf)
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
            logging=values.get("logging", {}),
            costs=metadata.get("costs", {}),
            costs_namespace=metadata.get("namespace", "io.envoy.ai_gateway"),
            provider_conf=conf,
            endpoint=endpoint,
            max_tokens=override.get("llm_options", {}).get("max_tokens"),
            request_body=override.get("request_body", {}),
            force_request_body=override.get("request_body_force_override", False),
            auth_headers=who.headers,
            auth_query=who.query,
            gcp=who.gcp,
            aws=who.aws,
        )

    def error(self, path: str, problem: str) -> RouteError:
        level = self.origin.get(path.partition(".")[0], LEVELS[0])
        return RouteError(f"{level}: {path}: {problem}")

    def auth(self, endpoint: Endpoint | None, conf: Mapping[str, str]) -> Credentials:
        auth, provider = self.values.get("auth"), self.provider
        if auth is None and provider.auth_required:
            raise RouteError(
                f"{self.origin['provider']}: auth: provider {provider.name} needs one, beside `provider`: "
                f"auth: {provider.auth}, or `auth: none` when Envoy adds the credential"
            )
        return credentials(auth or {}, provider, endpoint.authority if endpoint else None, conf, self.secrets)

    def endpoint(self, text: str) -> Endpoint | None:
        if not text:
            return None
        try:
            parts = split_endpoint(self.secrets.get("override.endpoint", text).reveal())
        except ValueError as error:
            raise self.error("override.endpoint", str(error)) from None
        path = "" if parts.path == "/" else parts.path
        host = parts.hostname or ""
        return Endpoint(parts.scheme, host, parts.port or _PORTS[parts.scheme], path, parts.query)

    def need_conf(self, conf: dict[str, str], upstream: str | None) -> None:
        dialects = [upstream] if upstream else [k for k, v in self.provider.dialects.items() if not v.explicit]
        needed = [name for dialect in dialects for name in self.provider.conf_needed(dialect, conf)]
        missing = [name for name in needed if not conf.get(name)]
        if missing:
            names = " and ".join(dict.fromkeys(missing))
            needs = f"provider {self.provider.name} needs {names}, or an override.endpoint with a path"
            raise RouteError(f"{self.origin['provider']}: provider_conf: {needs}")


def _not_spoken(provider: Provider, dialect: str) -> str:
    return f"provider {provider.name} does not speak {shown(dialect)}{choose(dialect, provider.dialects)}"


def _path(provider: Provider, dialect: str, conf: Mapping[str, str]) -> str:
    path = provider.dialects[dialect].path_for(conf)
    for name in provider.conf_needed(dialect, conf):
        path = path.replace(f"{{{name}}}", quote(conf.get(name, ""), safe=""))
    return path
