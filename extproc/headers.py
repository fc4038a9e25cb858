"""Which headers cross the gateway, in both directions. Pure functions over name tables.

A header list is a list of (name, value) pairs; repeated names stay repeated and in their order. Whatever case comes in,
the names that go out are lower-case; pseudo headers (``:path`` ...) are never among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from .names import NOTHING, Allowed, may_carry_credential, plain, remembered

Headers = list[tuple[str, str]]
"""Lower-case names, without pseudo headers."""

MODEL_HEADER: Final = "x-extproc-model"
"""Names the model by which Envoy chooses a route, of what is translated behind the listener."""
ROUTE_HEADER: Final = "x-extproc-route"
"""Names the route that a translated request must take, with its credential in it. It never bears MODEL_HEADER as well:
what is routed by model leads elsewhere."""
CREDENTIAL_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-goog-user-project",
        "x-goog-iam-authorization-token",
        "x-goog-iam-authority-selector",
        "ocp-apim-subscription-key",
        "openai-organization",
        "openai-project",
        "anthropic-organization-id",
        "anthropic-workspace-id",
        "chatgpt-account-id",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-content-sha256",
        "x-amzn-bedrock-api-key",
    }
)
"""Headers that say who pays or who asks. A client's own, and those that an earlier attempt left for another provider,
are removed before a provider's credentials are set: two providers' keys must never stand side by side."""

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection (RFC 9110 section 7.6.1); those that ``connection`` names come on top."""

_NEVER_UPSTREAM: Final = (
    CREDENTIAL_HEADERS
    | HOP_BY_HOP
    | {
        # The body's, and the body is written anew. The digests would be wrong.
        "content-length",
        "content-encoding",
        "content-md5",
        "content-digest",
        "repr-digest",
        "digest",
        "expect",
        "host",
        # Answers must come uncompressed: they are read (B11).
        "accept-encoding",
        # A browser's: Anthropic refuses a request that bears an origin, and no provider need know the page.
        "origin",
        "referer",
    }
)
_NEVER_UPSTREAM_FAMILIES: Final[tuple[str, ...]] = ("x-stainless-", "x-extproc-", "x-amz-", "sec-", ":")

_TO_ANY_UPSTREAM: Final = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "user-agent",
        # One request, wherever it is seen.
        "idempotency-key",
        "x-client-request-id",
        "x-request-id",
        # Traces.
        "b3",
        "traceparent",
        "tracestate",
        "uber-trace-id",
        "x-cloud-trace-context",
    }
)
"""What of a client's means the same to every API. Nothing else goes to an upstream of another API unless the call or
the route names it: a list of what must not go is never whole."""
_TO_ANY_UPSTREAM_FAMILIES: Final = ("x-b3-", "x-datadog-")

_TO_ENVOY: Final = frozenset(
    f"x-envoy-{name}"
    for name in (
        "decorator-operation",
        "force-trace",
        "hedge-on-per-try-timeout",
        "max-retries",
        "retriable-header-names",
        "retriable-status-codes",
        "retry-grpc-on",
        "retry-on",
        "upstream-alt-stat-name",
        "upstream-rq-per-try-timeout-ms",
        "upstream-rq-timeout-alt-response",
        "upstream-rq-timeout-ms",
        "upstream-stream-duration-ms",
    )
)
"""What Envoy's router reads, behind a listener's filter, and takes away before the request goes on."""

_NEVER_TO_CLIENT: Final[frozenset[str]] = HOP_BY_HOP | {
    "content-length",
    # Addresses: they show which provider it is, and repeat the query that went there, with the key in it.
    "content-location",
    "link",
    "location",
    "refresh",
    # What concerns the provider's host, never the gateway's.
    "set-cookie",
    "server",
    "via",
    "alt-svc",
    "strict-transport-security",
    "content-security-policy",
    "nel",
    "report-to",
    "reporting-endpoints",
    "www-authenticate",
    # Ours: a client would take another gateway's report for this one's.
    "x-llm-translation",
}
_NEVER_TO_CLIENT_FAMILIES: Final[tuple[str, ...]] = ("x-extproc-", "access-control-", "cf-", ":")

_TRANSLATED_AWAY: Final = _NEVER_TO_CLIENT | frozenset(
    {
        # Of a body that the client does not get.
        "content-type",
        "content-encoding",
        "content-md5",
        "content-digest",
        "repr-digest",
        "digest",
        "etag",
        "accept-ranges",
        # Each dialect has its own way to say these; the emitter writes the client's.
        "request-id",
        "x-request-id",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    }
)
_TRANSLATED_AWAY_FAMILIES: Final[tuple[str, ...]] = (
    *_NEVER_TO_CLIENT_FAMILIES,
    "anthropic-",
    "openai-",
    "x-openai-",
    "x-ratelimit-",
    "ratelimit-",
    "x-amz-",
    "x-amzn-",
    "x-goog-",
    "x-ms-",
    "apim-",
    "azureml-",
    "x-groq-",
    "x-openrouter-",
    "x-aiml-",
    "x-litellm-",
    "llm_provider-",
)


def value_of(headers: Headers, name: str) -> str | None:
    """The value of the first of *headers* that is called *name*; ``None`` if none is."""
    for each, value in headers:
        if each == name:
            return value
    return None


def upstream_headers(
    client: Iterable[tuple[str, str]],
    call: Iterable[tuple[str, str]],
    credentials: Iterable[tuple[str, str]],
    *,
    passthrough: bool = False,
    forward: Allowed = NOTHING,
) -> Headers:
    """The headers of an upstream request: the client's that may go on, then the *call*'s own, then the *credentials*.

    A name that comes later replaces every earlier one, in whatever spelling. Of the client's go on those that mean the
    same to every API; with *passthrough* (one dialect on both sides) all but those that may carry a credential; and
    those that the route lets through, *forward*. Known credentials never do.
    """
    theirs, own, auth = _lower(client), _lower(call), _lower(credentials)
    replaced = {name for name, _ in auth}
    own = [(name, value) for name, value in own if name not in replaced]
    gone = {plain(name) for name in replaced}
    gone.update([plain(name) for name, _ in own])
    gone.update([plain(name) for name in _named_by_connection(theirs)])
    goes = _goes_passed if passthrough else _goes_translated
    forwards = bool(forward.names or forward.families)
    kept = [
        pair
        for pair in theirs
        if (goes(pair[0]) or (forwards and pair[0] in forward and may_be_forwarded(pair[0])))
        and plain(pair[0]) not in gone
    ]
    return kept + own + auth


def client_headers(upstream: Iterable[tuple[str, str]], own: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a translated response: the *upstream*'s that mean the same in any API, then our *own*, which
    replace those of the same name. What only the upstream's API understands does not pass; the client's emitter says
    it anew."""
    return _answered(upstream, own, _comes_translated)


def passed_headers(upstream: Iterable[tuple[str, str]], own: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a response that passes untranslated: the client may read all of the *upstream*'s, limits and ids
    included, but what speaks of the provider's host or connection; then our *own*. ``content-encoding`` stays, because
    the bytes do: who inflates or replaces them must leave it out of *upstream*."""
    return _answered(upstream, own, _comes_to_client)


def _answered(
    upstream: Iterable[tuple[str, str]], own: Iterable[tuple[str, str]], comes: Callable[[str], bool]
) -> Headers:
    theirs, ours = _lower(upstream), _lower(own)
    gone = _named_by_connection(theirs).union([name for name, _ in ours])
    return [pair for pair in theirs if pair[0] not in gone and comes(pair[0])] + ours


@remembered(1024)
def may_be_forwarded(name: str) -> bool:
    """Whether a route may let a client's header *name* through at all."""
    read = plain(name)
    return bool(read) and read not in _NEVER_UPSTREAM and not read.startswith(_NEVER_UPSTREAM_FAMILIES)


@remembered(1024)
def _goes_passed(name: str) -> bool:
    if plain(name).startswith("x-envoy-"):
        return name in _TO_ENVOY
    return may_be_forwarded(name) and not may_carry_credential(name)


@remembered(1024)
def _goes_translated(name: str) -> bool:
    return name in _TO_ANY_UPSTREAM or name in _TO_ENVOY or name.startswith(_TO_ANY_UPSTREAM_FAMILIES)


@remembered(1024)
def _comes_to_client(name: str) -> bool:
    return name not in _NEVER_TO_CLIENT and not name.startswith(_NEVER_TO_CLIENT_FAMILIES)


@remembered(1024)
def _comes_translated(name: str) -> bool:
    return name not in _TRANSLATED_AWAY and not name.startswith(_TRANSLATED_AWAY_FAMILIES)


def _lower(headers: Iterable[tuple[str, str]]) -> Headers:
    """Names in lower case, as Envoy has them already."""
    return [pair if (low := pair[0].lower()) == pair[0] else (low, pair[1]) for pair in headers]


def _named_by_connection(headers: Headers) -> set[str]:
    """Headers that the sender declared to be for this connection only."""
    named: set[str] = set()
    for name, value in headers:
        if name == "connection":
            named.update(word.strip().lower() for word in value.split(","))
    return named
