"""A provider that says what it got: no client learns a key of ours from it."""

from __future__ import annotations

import base64
import gzip
import html
import json
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Translation
from extproc.llm.request import Message
from extproc.route import compile_route
from tests.policy.clients import CLIENTS, exchange, written

SECRET = "SECRET-OF/PROVIDER+1"
BODY = b'{"model":"g","max_tokens":9,"stream":%s,"messages":[{"role":"user","content":"hi"}]}'
PATHS = ("/v1/messages", "/v1/chat/completions")
JSON = ("content-type", "application/json")
ROUTES: dict[str, dict[str, Any]] = {
    "literal header": {"auth": {"header": {"Authorization": f"Bearer {SECRET}"}}},
    "header": {"auth": {"header": {"Authorization": "Bearer ${KEY}"}}},
    "own header": {"auth": {"header": {"x-team": "${KEY}"}}},
    "basic": {"auth": {"header": {"Authorization": f"Basic {base64.b64encode(f'u:{SECRET}'.encode()).decode()}"}}},
    "file": {"auth": {"header": {"x-api-key": "${file:FILE}"}}},
    "query": {"auth": {"query": {"key": "${KEY}"}}},
    "literal query": {"auth": {"query": {"key": SECRET}}},
    "endpoint": {"auth": "none", "override": {"endpoint": "https://p.example/x?k=${KEY}"}},
    "literal endpoint": {"auth": "none", "override": {"endpoint": f"https://p.example/x?key={SECRET}"}},
}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "base64": lambda text: base64.b64encode(f"Bearer {text}".encode()).decode(),
    "lower": str.lower,
}


def shows(data: bytes | str) -> bool:
    text = data.decode() if isinstance(data, bytes) else data
    forms = (text, urllib.parse.unquote(text), text.replace("\\/", "/"))
    return any(SECRET.lower() in form.lower() for form in forms) or "UkVULU9GL1BST1ZJREVS" in text


@pytest.fixture(params=ROUTES)
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str, bool], Translation]]:
    (tmp_path / "key").write_text(SECRET)
    text = json.dumps({"provider": "openai", **ROUTES[request.param]}).replace("FILE", str(tmp_path / "key"))
    route = compile_route([text], environ={"KEY": SECRET})

    def ask(path: str, stream: bool = False) -> Translation:
        t = Translation(route=route, now=1.0)
        call = t.request(BODY % (b"true" if stream else b"false"), "POST", path, [])
        assert isinstance(call, Call)
        sent = f"{call.full_path()} {call.all_headers()}"
        assert SECRET in urllib.parse.unquote(sent) or "Basic" in sent
        return t

    yield ask


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", PATHS)
def test_an_error_that_repeats_the_key(path: str, spelling: str, asked: Callable[..., Translation]) -> None:
    spelled = SPELLINGS[spelling](SECRET)
    for encoding, encode in (("", bytes), ("gzip", gzip.compress)):
        t = asked(path)
        t.response_head(401, [JSON, ("x-echo", spelled), *([("content-encoding", encoding)] if encoding else [])])
        out = t.response_body(
            encode(json.dumps({"error": {"message": f"no: {spelled}", "code": spelled}}).encode()), True
        )
        assert t.head.status == 401 and "***" in json.loads(out)["error"]["message"], out
        assert t.failed is not None
        for told in (out, repr(t.head.headers), t.failed.message, t.failed.code or ""):
            assert not shows(told)


@pytest.mark.parametrize("path", PATHS)
def test_an_error_amid_a_stream_and_a_header_of_a_good_answer(path: str, asked: Callable[..., Translation]) -> None:
    t = asked(path, True)
    t.response_head(200, [("content-type", "text/event-stream"), ("x-request-id", SECRET), ("x-echo", SECRET)])
    assert not shows(repr(t.head.headers))
    out = t.response_body(b'data: {"error":{"message":"no: %s"}}\n\n' % SECRET.encode(), True)
    assert b"***" in out and not shows(out)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("path", PATHS)
def test_a_redirect_is_a_502_in_the_clients_shape(path: str, status: int, asked: Callable[..., Translation]) -> None:
    for stream in (False, True):
        t = asked(path, stream)
        t.response_head(
            status, [("location", f"https://p.example/?key={SECRET}"), ("content-type", "text/event-stream")]
        )
        out = t.response_body(b"moved to %s" % SECRET.encode(), True)
        assert t.whole and t.head.status == 502
        assert f"HTTP {status}" in json.loads(out)["error"]["message"] and not shows(out)
        assert [name for name, _ in t.head.headers] == ["content-type"]


def test_a_compressed_error_that_cannot_be_read_is_replaced() -> None:
    t = Translation(route={"provider": "openai", "auth": "none"}, now=1.0)
    t.request(BODY % b"false", "POST", PATHS[1], [])
    t.response_head(401, [JSON, ("content-encoding", "br")])
    assert t.response_body(b"\x0b\x02", False) == b""
    out = t.response_body(b"\x80more", True)
    assert "'br'" in json.loads(out)["error"]["message"] and ("content-encoding", "br") not in t.head.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_a_key_in_a_good_answer_is_replaced_however_it_is_cut(
    path: str, kind: str, asked: Callable[..., Translation]
) -> None:
    said = {"choices": [{"index": 0, "delta": {"content": f"<{SECRET}>"}, "message": {"content": f"<{SECRET}>"}}]}
    data = json.dumps(said, separators=(",", ":")).encode()
    body = b"data: %s\n\ndata: [DONE]\n\n" % data if kind == "text/event-stream" else data
    whole = b""
    for size in (1, 3, 7, 1000):
        t = asked(path, kind == "text/event-stream")
        t.response_head(200, [("content-type", kind)])
        cut = [body[at : at + size] for at in range(0, len(body), size)]
        out = b"".join([*(t.response_body(each) for each in cut), t.response_body(b"", True)])
        assert not shows(out) and b"<***>" in out, out
        assert whole in (b"", out) or path == PATHS[0]
        whole = out


# ---- clients of every API

ELSEWHERE: dict[str, Callable[[str], str]] = {
    **SPELLINGS,
    "twice percent": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "hexadecimal": lambda text: text.encode().hex(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"x:{text}".encode()).decode(),
    "HTML": lambda text: html.escape(f"<{text}>"),
    "a form": urllib.parse.quote_plus,
}


@pytest.mark.parametrize("spelling", ELSEWHERE)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_of_any_api_learns_it(client: str, stream: bool, spelling: str) -> None:
    spelled = ELSEWHERE[spelling](SECRET)
    told = json.dumps({"error": {"message": f"no: {spelled}", "code": spelled, "param": spelled}})
    # An error's body, and one amid a stream that had begun well.
    for status, kind, body in (
        (401, "application/json", told),
        *([(200, "text/event-stream", f"data: {told}\n\n")] if stream else []),
    ):
        t = exchange(client, "openai_chat", auth={"header": {"Authorization": f"Bearer {SECRET}"}})
        call = written(client, Message("user", "hi"), stream=stream)
        assert isinstance(t.request(call.body, call.method, call.path), Call)
        t.response_head(status, [("content-type", kind), ("x-request-id", spelled)])
        data = body.encode()
        out = b"".join([t.response_body(data[:20]), t.response_body(data[20:], True)]) + repr(t.head.headers).encode()
        assert t.failed is not None and not shows(out.decode("utf-8", "replace"))
        forms = (spelled, spelled.rstrip("="), json.dumps(spelled)[1:-1])
        assert not any(form.encode() in out for form in forms), out
