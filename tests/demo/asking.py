"""Asking a scripted provider over HTTP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from extproc.demo.provider import ScriptedProvider, json_answer


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(lambda request: json_answer({"path": request.path})) as made:
        yield made


def ask(
    provider: ScriptedProvider, method: str = "POST", path: str = "/x", body: Any = b"{}"
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    connection.request(method, path, body, encode_chunked=not isinstance(body, bytes | None))
    return connection.getresponse()


WEATHER = "Paris and Oslo?"


CHAT_TOOL = {"type": "function", "function": {"name": "get_weather"}}


def said(provider: ScriptedProvider, body: dict[str, Any], stream: bool) -> str:
    return ask(provider, body=msgspec.json.encode({**body, "stream": stream})).read().decode()
