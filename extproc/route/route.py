"""A compiled route: where a request goes, what its body and query become, whose credential goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import quote, unquote, unquote_plus

from ..costs.counted import Cost
from ..costs.prices import Price
from ..credentials.aws import AwsAuth
from ..credentials.gcp import GcpAuth
from ..credentials.masking import words
from ..credentials.secrets import MASK, Secret
from ..effects import Awaited
from ..frozen import Frozen
from ..names import NOTHING, Allowed, may_carry_credential, pairs, plain
from ..policy.base import Configured
from ..providers import STATELESS, Provider, kind_of
from .merge import ABSENT, fill, merge, same
from .text import RouteError, choose, shown

_LIMITS: Final[tuple[str, ...]] = ("max_tokens", "max_completion_tokens")
"""One limit by its older and its newer name."""


NO_PLACES: Final[Mapping[str, str]] = {}


class Target(Frozen):
    """Where a request goes. ``path`` may bring a query of its own, and ``{model}`` where the model belongs; ``verbs``
    follow it, where the provider has its own. ``host`` is for ``:authority``, when the route names the upstream's own
    or signs for it; otherwise Envoy says it."""

    dialect: str
    path: str
    host: str | None = None
    verbs: tuple[str, str] | None = None


class Logged(Frozen):
    """What is logged of each exchange."""

    summaries: bool = False
    payloads: bool = False
    redact: tuple[str, ...] = ()
    """Names of the members of JSON whose values are not."""
    span_content: bool = False
    """A trace's span shows what was asked and answered."""


class EndpointUrl(Frozen):
    """``override.endpoint`` in its parts; ``path`` is empty when it names none. The connection is Envoy's: what shapes
    the request is ``authority``, ``path`` and ``query``."""

    scheme: str
    host: str
    port: int
    path: str
    query: str
    secret: frozenset[str] = frozenset()
    """Names of those parameters of the query that hold what a reference stands for, or a key by their name."""

    @property
    def authority(self) -> str:
        """The host, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"EndpointUrl({self.scheme}://{self.authority}{self.path}{'?' + MASK if self.query else ''})"


PORTS: Final = {"http": 80, "https": 443}


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
    policies: tuple[Configured, ...] = ()
    """In the order in which they look at an exchange."""
    forward_headers: Allowed = NOTHING
    forward_query: Allowed = NOTHING
    """What of a client's headers and query also goes on."""
    endpoints: frozenset[str] = frozenset(STATELESS)
    """What of the rest of OpenAI's API may pass."""
    usage: Literal["always", "asked"] = "always"
    """Whether the counts of a stream are asked for upstream where its client has not."""
    duration: Literal["never", "asked", "always"] = "never"
    """Whether a client's head says what we took: never, where the client asks, or always."""
    logging: Logged | None = None
    """``None``: nothing."""
    costs: dict[str, Cost] = {}
    """Name in ``costs_namespace`` of Envoy's dynamic metadata -> what goes there."""
    costs_namespace: str = ""
    prices: Literal["table"] | Price | None = None
    """By which an exchange's cost in USD is told; ``None``: it is not."""
    variables: tuple[str, ...] = ()
    """What else goes into our own namespace of it, for the access log, by the names that APISIX's users know."""
    tells_traits: bool = False
    """A log shows what a request offers and for whom."""
    provider_conf: dict[str, str] = {}
    endpoint: EndpointUrl | None = None
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
    endpoint_secret: Secret | None = None
    """The text of the endpoint, where it refers to secrets."""
    said: dict[str, Any] = {}
    """What the levels come to, as an operator may see it, without secrets; kept only where the bodies are logged."""
    found: dict[tuple[str, str | None], Target] = {}
    """Where requests of a dialect go, as ``target`` has found it before: for as many as there are dialects."""

    def __repr__(self) -> str:
        return f"Route(provider={self.provider.name!r}, upstream={self.upstream!r}, model={self.model!r})"

    def target(self, client: str, upstream: str | None = None, model: str = "") -> Target:
        """Where a request of dialect *client* for *model* goes: in the dialect *upstream*, else the route's if it is of
        the client's kind, else the client's own if the provider speaks it, else the provider's first of that kind, or
        the first of all if there is none. Raises RouteError."""
        if model:
            return self._target(client, upstream, model)
        known = self.found.get((client, upstream))
        if known is None:
            known = self.found[client, upstream] = self._target(client, upstream, "")
        return known

    def _target(self, client: str, upstream: str | None, model: str) -> Target:
        spoken = self.provider.dialects
        dialect = upstream or self.upstream
        if dialect is None or (upstream is None and kind_of(dialect) is not kind_of(client)):
            dialect = self.provider.chosen(client, model) or dialect or next(iter(spoken))
        elif dialect not in spoken:
            raise RouteError(f"route: upstream: {not_spoken(self.provider, dialect)}")
        endpoint = self.endpoint
        path = endpoint.path if endpoint and endpoint.path else _path(self.provider, dialect, self.provider_conf)
        host = self.aws.host if self.aws is not None else None
        return Target(dialect, path, endpoint.authority if endpoint is not None else host, spoken[dialect].verbs)

    def serves(self, client: str, endpoint: str) -> bool:
        """Whether *endpoint* of the rest of an API, that of *client*, may pass to the provider, which has it."""
        there = self.provider.dialects.get(client)
        return there is not None and endpoint in self.endpoints and (not there.serves or endpoint in there.serves)

    def query(self, path: str, client_path: str, *, passthrough: bool = False) -> tuple[str, str]:
        """*path* with its query, and the part of the query that is not to be seen: the endpoint's secrets and
        ``auth.query``. Of one name the last counts: the client's, *path*'s own, the endpoint's, ``auth.query``'s.

        Of the client's goes on what the route forwards, and with *passthrough* (one API on both sides) what cannot
        carry a credential.
        """
        if self.endpoint is None and not self.auth_query and "?" not in path and "?" not in client_path:
            # As nearly all are.
            return path, ""
        bare, _, own = path.partition("?")
        layers = [self._client_pairs(client_path, passthrough), _pairs(own)]
        hidden: list[tuple[str, str]] = []
        if self.endpoint:
            found = _pairs(self.endpoint.query)
            layers.append([pair for pair in found if pair[0] not in self.endpoint.secret])
            hidden = [pair for pair in found if pair[0] in self.endpoint.secret]
        keys = [(name, f"{quote(name)}={quote(value.reveal(), safe='')}") for name, value in self.auth_query]
        secret = _overlaid([hidden, keys])
        seen = _overlaid([*layers, secret])[: -len(secret) or None]
        visible = "&".join(raw for _, raw in seen)
        return f"{bare}?{visible}" if visible else bare, "&".join(raw for _, raw in secret)

    def _client_pairs(self, path: str, passthrough: bool) -> list[tuple[str, str]]:
        query = path.partition("?")[2].partition("#")[0]
        return [
            (name, raw)
            for name, raw in pairs(query)
            if name in self.forward_query or (passthrough and not may_carry_credential(name))
        ]

    def credentials(self) -> list[tuple[str, str]]:
        """The headers that say who we are, lower-case names; secrets in the clear. Raises NotReady."""
        headers = [(name, value.reveal()) for name, value in self.auth_headers]
        if self.gcp is not None:
            headers.append(("authorization", f"Bearer {self.gcp.token()}"))
        return headers

    def secrets(self, sent: list[tuple[str, str]]) -> tuple[str, ...]:
        """What the upstream got that no client is to see, where *sent* were the ``credentials``: what the route's
        ``auth`` and endpoint refer to, and what stands in a credential's place as it is."""
        referred = [*self.auth_headers, *self.auth_query]
        found = [text for _, value in referred for text in value.referred()]
        found += [word for name, value in sent if may_carry_credential(name) for word in words(value)]
        found += [value.reveal() for name, value in self.auth_query if may_carry_credential(name)]
        if self.endpoint is not None:
            written = [raw.partition("=")[2] for name, raw in _pairs(self.endpoint.query) if may_carry_credential(name)]
            found += [decode(text) for text in written for decode in (unquote, unquote_plus)]
        if self.endpoint_secret is not None:
            found += self.endpoint_secret.referred()
        return (*found, *self.aws.shown()) if self.aws is not None else tuple(found)

    def begin(self) -> Awaited | None:
        """Have the credential fetched, if it is of the kind that must be. What to wait for before ``credentials`` are
        asked for; ``None`` when there is no need."""
        return self.gcp.begin() if self.gcp is not None else None

    def apply(
        self, members: dict[str, Any], dialect: str, limits: tuple[str, ...], places: Mapping[str, str] = NO_PLACES
    ) -> dict[str, Any]:
        """The upstream body's top-level *members* with what the route sets beside the model, in this order: options,
        ``llm_options`` (always), ``request_body`` (fills, or replaces when forced) (D15-D17, D28-D30). *limits* are the
        members that bound an answer in that *dialect*, *places* where it has options that are not at the body's top.

        *members* may hold ``msgspec.Raw``; what is not touched stays so. Neither *members* nor the route is changed.
        """
        if not (self.options or self.request_body or self.max_tokens is not None):
            return members
        wanted = dict(self.options)
        present = {name for name in _LIMITS if name in wanted}
        limit = self._limit_name(dialect, limits)
        if self.max_tokens is not None and limit:
            wanted[limit] = self.max_tokens
            present = {limit}.intersection(_LIMITS)
        below = {places[name]: wanted.pop(name) for name in list(wanted) if name in places}
        # Two limits side by side are an error to some servers and ambiguous to the rest.
        result = {k: v for k, v in members.items() if not present or k not in _LIMITS or k in present}
        result |= {name: value for name, value in wanted.items() if not same(members.get(name, ABSENT), value)}
        for path, value in below.items():
            outer, _, inner = path.partition(".")
            result = merge(result, {outer: {inner: value}})
        patch = self.request_body.get(dialect)
        if not patch:
            return result
        return merge(result, patch) if self.force_request_body else fill(result, patch)

    def _limit_name(self, dialect: str, limits: tuple[str, ...]) -> str | None:
        """What the upstream calls the limit. Where an API has several names for it, a model can have its own."""
        spoken = self.provider.dialects.get(dialect)
        own = self.quirks.get("token_field")
        return own if own in limits else spoken.max_tokens if spoken else None


def _overlaid(layers: list[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """A query of several layers: what a later one names an earlier one has not."""
    merged: list[tuple[str, str]] = []
    for layer in layers:
        names = {plain(name) or name for name, _ in layer}
        merged = [pair for pair in merged if (plain(pair[0]) or pair[0]) not in names] + layer
    return merged


def _pairs(query: str) -> list[tuple[str, str]]:
    """A query's parameters, each with its name decoded and its text as it was."""
    return [(unquote_plus(raw.partition("=")[0]), raw) for raw in query.split("&") if raw]


def not_spoken(provider: Provider, dialect: str) -> str:
    return f"provider {provider.name} does not speak {shown(dialect)}{choose(dialect, provider.dialects)}"


def _path(provider: Provider, dialect: str, conf: Mapping[str, str]) -> str:
    path = provider.dialects[dialect].path_for(conf)
    for name in provider.conf_needed(dialect, conf):
        path = path.replace(f"{{{name}}}", quote(conf.get(name, ""), safe=""))
    return path
