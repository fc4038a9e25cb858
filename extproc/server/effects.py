"""Carries out what exchanges ask for, on the server's own loop: no other stream waits meanwhile.

Connections are kept and used again, certificates are verified, redirects are not followed, no proxy and no cookie comes
from anywhere. HTTP needs the package aiohttp (``pip install 'extproc-llm[policies]'``).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from ..effects import Ask, Awaited, Done, Failed, Failure, HttpAnswer, HttpCall, Result
from ..settings import Settings
from .memory import Budget

log = logging.getLogger(__name__)

SERVICES = 4
"""So many services may hang, each with as many calls as it may have, before calls to others fail as well."""
KEPT_SECONDS = 30.0
"""How long an unused connection stays open."""
NO_ROOM = "what the process keeps leaves no room for it"
NO_HTTP = "needs the package aiohttp: pip install 'extproc-llm[policies]'"


class Effects:
    """Those of one process. ``close`` once, on the loop on which they ran. *budget*: what their bodies count with."""

    def __init__(self, settings: Settings, budget: Budget | None = None) -> None:
        self._budget = budget or Budget(settings.max_held_bytes, settings.limits.max_decoded_bytes)
        self._bound = settings.max_side_calls
        self._max_bytes = settings.max_side_call_bytes
        self.open = 0
        """HTTP calls that are in flight."""
        self._to: Counter[str] = Counter()
        """The same by the service that is asked: scheme, host and port."""
        self._http: Any = None
        self.results: Counter[str] = Counter()
        """What became of HTTP calls: ``answered``, or the name of a failure."""

    async def run(self, ask: Ask) -> Result:
        """Carry it out. Raises nothing of its own; cancelled, it lets go of what it has."""
        effect = ask.effect
        if isinstance(effect, Awaited):
            return await _awaited(effect, min(effect.seconds, ask.seconds))
        result = await self._bounded(effect, min(effect.seconds, ask.seconds))
        self.results[result.why.value if isinstance(result, Failed) else "answered"] += 1
        return result

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.close()

    async def _bounded(self, call: HttpCall, seconds: float) -> HttpAnswer | Failed:
        if not _is_url(call.url):
            return Failed(Failure.INVALID, "no http or https URL")
        service = "/".join(call.url.split("/", 3)[:3])
        if self._to[service] >= self._bound or self.open >= SERVICES * self._bound:
            return Failed(Failure.BUSY, f"{self.open} calls are in flight, {self._to[service]} of them to this service")
        self.open += 1
        self._to[service] += 1
        try:
            if not self._budget.keep(len(call.body)):
                return Failed(Failure.BUSY, NO_ROOM)
            async with asyncio.timeout(seconds):
                return await self._asked(call)
        except TimeoutError:
            return Failed(Failure.TIMEOUT, f"no answer within {seconds:.3g} s")
        except ModuleNotFoundError:
            return Failed(Failure.INVALID, NO_HTTP)
        except Exception as error:
            return _failed(error)
        finally:
            self._budget.keep(-len(call.body))
            self.open -= 1
            self._to[service] -= 1
            if not self._to[service]:
                del self._to[service]

    async def _asked(self, call: HttpCall) -> HttpAnswer | Failed:
        try:
            return await self._call(call)
        except Exception as error:
            # A connection that was kept may have been closed by the time it is used again.
            if not call.safe or type(error).__name__ not in ("ServerDisconnectedError", "ClientOSError"):
                raise
        return await self._call(call)

    async def _call(self, call: HttpCall) -> HttpAnswer | Failed:
        bound = min(call.max_bytes, self._max_bytes)
        # As it is: what is signed is the path as it is sent.
        url = importlib.import_module("yarl").URL(call.url, encoded=True)
        sent = self._client().request(
            call.method, url, headers=[*call.headers], data=call.body or None, allow_redirects=False
        )
        body = bytearray()
        try:
            async with sent as answer:
                async for chunk in answer.content.iter_any():
                    body += chunk
                    has_room = self._budget.keep(len(chunk))
                    if len(body) > bound or not has_room:
                        answer.close()
                        if has_room:
                            return Failed(Failure.TOO_LARGE, f"more than {bound} bytes")
                        return Failed(Failure.BUSY, NO_ROOM)
                headers = tuple((name.lower(), value) for name, value in answer.headers.items())
                return HttpAnswer(answer.status, headers, bytes(body))
        finally:
            self._budget.keep(-len(body))

    def _client(self) -> Any:
        if self._http is None:
            aiohttp: Any = importlib.import_module("aiohttp")
            self._http = aiohttp.ClientSession(
                # Their number is bounded above: a bound here would be waited at.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("accept-encoding", "content-type"),
                headers={"user-agent": "extproc"},
            )
        return self._http


def _is_url(text: str) -> bool:
    if not text.isascii() or any(char <= " " for char in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _failed(error: Exception) -> Failed:
    """*error*, of aiohttp, of what lies under it, or of what it was given. By name only: its text can hold a secret."""
    name = type(error).__name__
    ours = not type(error).__module__.startswith("aiohttp")
    if name == "InvalidURL" or (ours and isinstance(error, ValueError)):
        return Failed(Failure.INVALID, name)
    if ours and not isinstance(error, OSError):
        log.error("a bug in a side call", exc_info=error)
    return Failed(Failure.UNREACHABLE, name)


async def _awaited(effect: Awaited, seconds: float) -> Done | Failed:
    # Not ``wait_for``: that would cancel what others wait for too.
    done, _ = await asyncio.wait([asyncio.wrap_future(effect.what)], timeout=seconds)
    return Done() if done else Failed(Failure.TIMEOUT, f"not there within {seconds:.3g} s")
