"""One question over HTTP, and all that can be seen of its answer."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60.0
"""A model may think so long before it says anything."""
MAX_BYTES = 32 * 1024 * 1024


class NoAnswer(OSError):
    """Nothing came back; the message says why."""


@dataclass(frozen=True)
class SeenAnswer:
    """An answer. ``pieces`` are its body's, each with the seconds from the question to its coming."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    broken: bool = False
    """The transfer ended before its announced end."""

    @property
    def json(self) -> Any:
        """The body as JSON; ``None`` if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events of a stream: their names, and their data as JSON or as text."""
        found = []
        for block in self.body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n\n"):
            lines = [line.partition(":") for line in block.split("\n")]
            data = "\n".join(value.removeprefix(" ") for name, _, value in lines if name == "data")
            if data:
                name = next((value.strip() for name, _, value in lines if name == "event"), "")
                found.append((name, _as_json(data)))
        return found


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def base_url(text: str) -> str:
    """The base URL of a gateway that *text* means: ``127.0.0.1:10000``, and what OpenAI's SDKs are given
    (``http://127.0.0.1:10000/v1``), are the same one."""
    url = text if "://" in text else f"http://{text}"
    return url.rstrip("/").removesuffix("/v1")


def ask(
    url: str, path: str, body: Any = None, *, method: str = "", headers: Mapping[str, str] | None = None,
    seconds: float = SECONDS, most: int = MAX_BYTES,
) -> SeenAnswer:  # fmt: skip
    """Ask *url* for *path*: with a *body* a POST of it as JSON (bytes are JSON already), else a GET, unless *method*
    says otherwise. What is read ends with *most* bytes, and *seconds* bound each wait. Raises NoAnswer."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoAnswer(f"{url!r} is no URL of a gateway: expected one as http://127.0.0.1:10000")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        with closing(kind(parts.hostname, parts.port, timeout=seconds)) as connection:
            began = time.monotonic()
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            head = {"accept": "*/*", **({"content-type": "application/json"} if data else {}), **(headers or {})}
            connection.request(method or ("GET" if data is None else "POST"), parts.path.rstrip("/") + path, data, head)
            return _read(connection.getresponse(), began, most)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None


def _read(response: http.client.HTTPResponse, began: float, most: int) -> SeenAnswer:
    pieces: list[tuple[float, bytes]] = []
    size, broken = 0, False
    try:
        while size < most and (piece := response.read1(65536)):
            pieces.append((time.monotonic() - began, piece))
            size += len(piece)
    except (OSError, http.client.HTTPException):
        broken = True
    # What was announced and did not come.
    broken = broken or (size < most and bool(response.length))
    headers = {name.lower(): value for name, value in response.getheaders()}
    return SeenAnswer(response.status, headers, b"".join(piece for _, piece in pieces), pieces, broken)
