"""Which headers cross the gateway, in both directions. Pure functions over name tables.

A header list is a list of (name, value) pairs; repeated names stay repeated and in their order. Whatever case comes in,
the names that go out are lower-case; pseudo headers (``:path`` ...) are never among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

Headers = list[tuple[str, str]]

CREDENTIAL_HEADERS = frozenset(
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

HOP_BY_HOP = frozenset(
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

_NEVER_UPSTREAM = (
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
_NEVER_UPSTREAM_FAMILIES: tuple[str, ...] = ("x-stainless-", "x-extproc-", "x-amz-", "sec-fetch-", ":")
_DIALECT_FAMILIES = ("anthropic-", "openai-")

_NEVER_TO_CLIENT: frozenset[str] = HOP_BY_HOP | {
    "content-length",
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
_NEVER_TO_CLIENT_FAMILIES: tuple[str, ...] = ("x-extproc-", "access-control-", "cf-", ":")

_TRANSLATED_AWAY = _NEVER_TO_CLIENT | frozenset(
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
_TRANSLATED_AWAY_FAMILIES: tuple[str, ...] = (
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


def upstream_headers(
    client: Iterable[tuple[str, str]],
    call: Iterable[tuple[str, str]],
    credentials: Iterable[tuple[str, str]],
    *,
    passthrough: bool = False,
) -> Headers:
    """The headers of an upstream request: the client's that may go on, then the *call*'s own, then the *credentials*.

    A name that comes later replaces every earlier one. The headers of a dialect (``anthropic-version``,
    ``anthropic-beta``, ``openai-beta``) are the call's to say; with *passthrough* (one dialect on both sides) the
    client's own go on where the call is silent. Credentials never do.
    """
    theirs, own, auth = _lower(client), _lower(call), _lower(credentials)
    replaced = {name for name, _ in auth}
    own = [(name, value) for name, value in own if name not in replaced]
    gone = replaced.union((name for name, _ in own), _named_by_connection(theirs))
    goes = _goes_upstream if passthrough else _goes_translated
    return [*[pair for pair in theirs if pair[0] not in gone and goes(pair[0])], *own, *auth]


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
    return [*[pair for pair in theirs if pair[0] not in gone and comes(pair[0])], *ours]


# The same few names come with every request: what becomes of a name is looked up, not found out. Bounded, because names
# come from outside.


@lru_cache(maxsize=1024)
def _goes_upstream(name: str) -> bool:
    return name not in _NEVER_UPSTREAM and not name.startswith(_NEVER_UPSTREAM_FAMILIES)


@lru_cache(maxsize=1024)
def _goes_translated(name: str) -> bool:
    return _goes_upstream(name) and not name.startswith(_DIALECT_FAMILIES)


@lru_cache(maxsize=1024)
def _comes_to_client(name: str) -> bool:
    return name not in _NEVER_TO_CLIENT and not name.startswith(_NEVER_TO_CLIENT_FAMILIES)


@lru_cache(maxsize=1024)
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
