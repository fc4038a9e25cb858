"""What the name of a header or of a query's parameter says: how it is read, and whether it may carry a credential.

One reading for all spellings: to some server ``X_Api_Key``, ``x%2dapi%2dkey`` and ``x-api-key`` are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar
from urllib.parse import unquote_plus

from .frozen import Frozen

MAX_NAME = 256
"""Characters of a name that is read at all; a longer one may carry anything."""
_DECODINGS = 3
"""How often a name is percent-decoded: servers decode once, and a proxy before them once more."""

_READABLE = re.compile(r"[a-z0-9$.:~\[\]*-]+\Z")
_BETWEEN_WORDS = re.compile(r"[^a-z0-9]+")

_SAFE = frozenset({"idempotency-key", "x-idempotency-key", "prompt-cache-key"})
"""They look like a credential's and are none."""
_WITHIN = (
    "auth", "token", "jwt", "jws", "oidc", "saml", "assertion", "cookie", "secret", "passw", "passphrase", "credential",
    "signature", "apikey", "accesskey", "bearer", "dpop", "principal", "client-cert", "clientcert",
)  # fmt: skip
"""Wherever they stand in a name."""
_WORDS = frozenset({"sig", "cert", "certs", "pin", "otp", "totp", "hmac", "pwd", "csrf", "xsrf", "ticket", "email"})
_WHOLE = frozenset(
    {"code", "state", "nonce", "session", "x-session", "sid", "pass", "pw", "user", "username", "login", "remote-user",
     "x-real-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip"}
)  # fmt: skip
_FAMILIES = (
    # What proxies tell of who came, and by which way.
    "x-forwarded", "forwarded", "x-original-", "x-remote-", "ssl-client-", "x-ssl-", "x-tls-", "cf-", "fastly-",
    "x-appengine-", "x-consumer-", "x-kong-", "x-pomerium-", "tailscale-", "x-vault-", "x-arr-",
    "x-goog-iap-", "x-amzn-mtls-", "x-ms-client-",
    # Signed requests.
    "x-amz-", "x-goog-algorithm", "x-goog-date", "x-goog-expires", "x-goog-signed",
)  # fmt: skip


T = TypeVar("T")


class _Known(dict[str, T]):
    """What is said of names."""

    def __init__(self, decide: Callable[[str], T], most: int) -> None:
        self._decide = decide
        self._most = most

    def __missing__(self, name: str) -> T:
        said = self._decide(name)
        if len(name) <= MAX_NAME:
            if len(self) >= self._most:
                self.clear()
            self[name] = said
        return said


def remembered(most: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Have what a function says of a name looked up, of *most* names at most. The same few come with every request. Of
    a name longer than any it is found out anew: names come from outside, and thousands of 50 KB each must not be
    kept."""

    def of(decide: Callable[[str], T]) -> Callable[[str], T]:
        # The dictionary's own method: no Python runs for a name that is known.
        return _Known(decide, most).__getitem__

    return of


@remembered(4096)
def plain(name: str) -> str:
    """*name* as every server that is lenient in some way would read it: lower case, hyphens for underscores,
    percent-decoded. Empty if that leads nowhere: too long, decoded too often, or of other characters than names
    have."""
    if len(name) > MAX_NAME:
        return ""
    for _ in range(_DECODINGS):
        decoded = unquote_plus(name)
        if decoded == name:
            break
        name = decoded
    name = name.strip().lower().replace("_", "-")
    return name if _READABLE.match(name) else ""


@remembered(4096)
def may_carry_credential(name: str) -> bool:
    """Whether what stands under *name*, in whatever spelling, may say who asks or who pays. A name that cannot be read
    may."""
    read = plain(name)
    if not read:
        return True
    if read in _SAFE:
        return False
    return (
        read in _WHOLE
        or read.endswith("key")
        or read.startswith(_FAMILIES)
        or any(part in read for part in _WITHIN)
        or not _WORDS.isdisjoint(_BETWEEN_WORDS.split(read))
    )


class Allowed(Frozen):
    """Names that an operator lets through, in plain spelling."""

    names: frozenset[str] = frozenset()
    families: tuple[str, ...] = ()
    """How names begin."""

    def __contains__(self, name: str) -> bool:
        read = plain(name)
        return bool(read) and (read in self.names or read.startswith(self.families))


def allowed(patterns: Iterable[str]) -> Allowed:
    """*patterns* are names, or beginnings of names with a ``*`` behind them."""
    read = [plain(pattern) for pattern in patterns]
    return Allowed(
        frozenset(name for name in read if not name.endswith("*")),
        tuple(name[:-1] for name in read if name.endswith("*")),
    )


NOTHING = Allowed()


def pairs(query: str) -> list[tuple[str, str]]:
    """A client's query as its parameters, each with its name as it stands and its text. Some servers part them by
    semicolons too."""
    return [(raw.partition("=")[0], raw) for raw in re.split("[&;]", query) if raw]


def without_credentials(path: str) -> str:
    """*path* without the parameters of its query that may carry a client's credential."""
    bare, _, query = path.partition("#")[0].partition("?")
    kept = [raw for name, raw in pairs(query) if not may_carry_credential(name)]
    return f"{bare}?{'&'.join(kept)}" if kept else bare
