"""Batches of records to an HTTP endpoint, from a thread that may wait: the standard library is enough."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from .record import encoded
from .sinks import Entry

SECONDS = 10.0
"""For connecting, and for each read of an answer."""
TRIES = 3
FIRST_WAIT_SECONDS = 0.5
"""Before a batch is sent again; twice as long each time."""
MAX_ANSWER_BYTES = 64 * 1024
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class NotTaken(OSError):
    """The endpoint did not take a batch."""


class Poster:
    """Sends each batch as one JSON array, by POST, on a connection that is kept. ``write`` raises OSError.

    *url*: http or https, whose certificate is verified; *headers* are asked for anew each time, and may hold secrets.
    A batch that may have arrived is sent again where no good answer came: a record may be there twice.
    """

    def __init__(self, url: str, headers: Callable[[], dict[str, str]]) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc.rpartition("@")[2]
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None

    def write(self, batch: Sequence[Entry]) -> None:
        """All of *batch*, or none."""
        body = b"[" + b",".join(encoded(began, outcome) for began, outcome in batch) + b"]"
        wait = FIRST_WAIT_SECONDS
        for left in reversed(range(TRIES)):
            try:
                status = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                problem = f"{self._host}: {type(error).__name__}"
            else:
                if status < 300:
                    return
                problem = f"{self._host} answered {status}"
                if status not in _AGAIN:
                    break
            if left:
                time.sleep(wait)
                wait *= 2
        raise NotTaken(problem)

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = (
                http.client.HTTPConnection(self._host, timeout=SECONDS)
                if self._tls is None
                else http.client.HTTPSConnection(self._host, timeout=SECONDS, context=self._tls)
            )
        headers = {"content-type": "application/json", "user-agent": "extproc", **self._headers()}
        self._connection.request("POST", self._path, body, headers)
        answer = self._connection.getresponse()
        if len(answer.read(MAX_ANSWER_BYTES)) == MAX_ANSWER_BYTES:
            # Who says so much is not waited for: the next one gets another connection.
            self._close()
        return answer.status

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
