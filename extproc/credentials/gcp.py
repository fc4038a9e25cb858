"""Access tokens of Google Cloud for a service account's key.

A thread per key fetches them and renews them before they expire; all routes with that key share it, and it ends when no
request has asked for long. No request ever waits on the network here: there is a token, or ``NotReady`` is raised.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Any

from ..effects import Awaited
from .secrets import NotReady, Secret, Unresolvable

log = logging.getLogger(__name__)

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EXPIRE_EARLY_SECONDS = 60
"""A token is renewed so long before it expires, unless the route says otherwise."""
FIRST_TOKEN_SECONDS = 5.0
"""A request that comes before the first token has been asked for is held back so long at most; then it is refused."""
ATTEMPT_SECONDS = 10.0
"""One request to the token endpoint."""
MAX_RETRY_SECONDS = 60.0
"""The longest pause between attempts that fail."""
IDLE_SECONDS = 3600.0
"""Without a request for so long, tokens are renewed no more."""
MAX_KEYS = 256
"""Keys whose tokens are kept at once."""
MAX_ANSWER_BYTES = 64 * 1024

Fetch = Callable[[], tuple[str, float]]
"""A new token, and the seconds for which it is good. Blocks; raises what it likes."""


class Tokens:
    """The tokens of one key. *what* names the key in the log."""

    def __init__(
        self,
        fetch: Fetch,
        what: str,
        max_ttl: float | None = None,
        expire_early: float = EXPIRE_EARLY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settled: Future[None] = Future()
        """Done when the first attempt is, however it went."""
        self._fetch = fetch
        self._what = what
        self._max_ttl = max_ttl
        self._expire_early = expire_early
        self._clock = clock
        self._held = ("", float("-inf"))
        self._failures = 0
        self._asked = clock()
        self._closed = Event()
        self._lock = Lock()
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        return f"Tokens({self._what!r})"

    def get(self) -> str | None:
        """The token that is good now. Sets the thread going if it is not."""
        self._asked = now = self._clock()
        if self._thread is None:
            self._start()
        token, until = self._held
        return token if now < until else None

    def close(self) -> None:
        """Renew no more, once no request asks."""
        self._closed.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._closed.clear()
                self._thread = Thread(target=self._keep, name="gcp-tokens", daemon=True)
                self._thread.start()

    def _keep(self) -> None:
        while True:
            pause = self._attempt()
            if not self.settled.done():
                self.settled.set_result(None)
            self._closed.wait(pause)
            with self._lock:
                if self._closed.is_set() or self._clock() - self._asked > IDLE_SECONDS:
                    self._thread = None
                    return

    def _attempt(self) -> float:
        """One attempt. Returns the seconds until the next is due."""
        began = self._clock()
        try:
            token, seconds = self._fetch()
        except Exception as error:
            self._failures += 1
            # The first argument alone: others can hold the endpoint's whole answer.
            reason = str(error.args[0] if error.args else "")[:200]
            log.warning("no access token for %s: %s: %s", self._what, type(error).__name__, reason)
            return min(MAX_RETRY_SECONDS, 2.0 ** (self._failures - 1))
        self._failures = 0
        if self._max_ttl is not None:
            seconds = min(seconds, self._max_ttl)
        self._held = (token, began + seconds)
        early = self._expire_early
        return max(1.0, seconds - early if early < seconds else seconds / 2)


class GcpAuth:
    """``auth.gcp`` of a route. Raises Unresolvable when *key* holds no service account's key, or google-auth is not
    installed."""

    def __init__(self, key: Secret, max_ttl: float | None, expire_early: float) -> None:
        if importlib.util.find_spec("google") is None or importlib.util.find_spec("google.auth") is None:
            raise Unresolvable("needs the package google-auth: pip install 'extproc-llm[gcp]'")
        self._key = key
        self._max_ttl = max_ttl
        self._expire_early = expire_early
        self._text = key.reveal()
        self._tokens = self._shared(self._text)

    def __repr__(self) -> str:
        return "GcpAuth()"

    def begin(self) -> Awaited | None:
        """Have a token fetched if there is none. What to wait for, ``None`` if there is nothing that waiting helps."""
        tokens = self._current()
        if tokens.get() is not None or tokens.settled.done():
            return None
        return Awaited(tokens.settled, FIRST_TOKEN_SECONDS)

    def token(self) -> str:
        """Raises NotReady."""
        token = self._current().get()
        if token is None:
            raise NotReady("the gateway has no access token for this upstream yet; try again")
        return token

    def _current(self) -> Tokens:
        text = self._key.reveal()
        if text is not self._text and text != self._text:
            # The key's file was replaced. What is no key leaves the old one in force.
            self._text = text
            try:
                self._tokens = self._shared(text)
            except Unresolvable as error:
                log.warning("kept the last good service account: %s", error)
        return self._tokens

    def _shared(self, text: str) -> Tokens:
        digest = hashlib.sha256(text.encode()).digest()
        key = (digest, self._max_ttl, self._expire_early)
        with _lock:
            tokens = _all.get(key)
            if tokens is None:
                info = service_account(text)
                tokens = _all[key] = Tokens(google_fetch(info), info["client_email"], self._max_ttl, self._expire_early)
            _all.move_to_end(key)
            while len(_all) > MAX_KEYS:
                _all.popitem(last=False)[1].close()
        return tokens


def ahead(environ: Mapping[str, str]) -> Awaited | None:
    """What a process that has the key of GCP_SERVICE_ACCOUNT in its *environ* had better wait for before it says that
    it is ready: the first token for that key, which is asked for here. ``None`` without such a key."""
    text = environ.get("GCP_SERVICE_ACCOUNT", "")
    try:
        return GcpAuth(Secret(text), None, EXPIRE_EARLY_SECONDS).begin() if text else None
    except Unresolvable as error:
        # The routes that use it say so to whoever asks.
        log.warning("GCP_SERVICE_ACCOUNT: %s", error)
        return None


_all: OrderedDict[tuple[bytes, float | None, float], Tokens] = OrderedDict()
_lock = Lock()


def service_account(text: str) -> dict[str, str]:
    """A service account's key as Google gives it out. Raises Unresolvable, which shows nothing of it."""
    try:
        info = json.loads(text)
    except ValueError:
        raise Unresolvable("not JSON: expected a service account's key") from None
    if not isinstance(info, dict):
        raise Unresolvable("not a JSON object: expected a service account's key")
    for name in ("client_email", "private_key", "token_uri"):
        if not isinstance(info.get(name), str) or not info[name]:
            raise Unresolvable(f"it has no {name}: expected a service account's key")
    if not info["token_uri"].startswith(("https://", "http://")):
        raise Unresolvable("its token_uri is no URL")
    return info


def google_fetch(info: Mapping[str, str]) -> Fetch:
    """How google-auth gets a token for the key *info*. Raises Unresolvable when it cannot read it."""
    accounts: Any = importlib.import_module("google.oauth2.service_account")
    try:
        credentials = accounts.Credentials.from_service_account_info(info, scopes=[SCOPE])
    except Exception:
        raise Unresolvable("its private_key cannot be read") from None

    def fetch() -> tuple[str, float]:
        credentials.refresh(_post)
        left = credentials.expiry - datetime.now(UTC).replace(tzinfo=None)
        return credentials.token, left.total_seconds()

    return fetch


class _Answer:
    """What google-auth wants to know of an HTTP response."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What proves who we are goes nowhere but where the key says."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _post(
    url: str,
    method: str = "POST",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Answer:
    """google-auth's transport (``google.auth.transport.Request``), by the standard library."""
    asked = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        with _opener.open(asked, timeout=ATTEMPT_SECONDS) as found:
            return _Answer(found.status, dict(found.headers), found.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return _Answer(error.code, dict(error.headers), error.read(MAX_ANSWER_BYTES))
    except OSError as error:
        exceptions: Any = importlib.import_module("google.auth.exceptions")
        raise exceptions.TransportError(f"{url} cannot be reached: {error}") from None
