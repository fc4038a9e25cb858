"""What reads bytes from outside, each as a function that must neither raise nor take long, and what to begin with."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from pathlib import Path

from extproc import Refused, RouteError, Translation, dialects
from extproc.credentials.masking import Mask
from extproc.names import may_carry_credential, plain
from extproc.route import compile_route
from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.session import Session as Calls
from extproc.server.service import Service
from extproc.settings import Settings

CORPUS = Path(__file__).parent / "corpus"
GOLDEN = Path(__file__).parent.parent / "golden"
ASKED = b'{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}'
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "anthropic_messages": "/v1/messages",
    "openai_responses": "/v1/responses",
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "bedrock_converse": "/model/m/converse-stream",
}
OTHERS = ("/v1/embeddings", "/v1/messages/count_tokens", "/")
UPSTREAMS = {
    "openai_chat": "openai",
    "anthropic_messages": "anthropic",
    "openai_responses": "openai",
    "gemini": "gemini",
    "bedrock_converse": "bedrock",
}
"""A provider of each API."""
PROMPTS = {
    "openai_responses": b'{"model":"m","input":"hi","store":false,"stream":true}',
    "gemini": b'{"contents":[{"parts":[{"text":"hi"}]}]}',
    "bedrock_converse": b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}',
}
_SERVICE = Service(Settings())
_MASK = Mask(["sk-secret-0123456789"])


def translation(upstream: str) -> Translation:
    return Translation(
        upstream=upstream, route={"provider": UPSTREAMS[upstream], "auth": "none", "losses": "report"}, now=1.0
    )


def request_at(*paths: str) -> Callable[[bytes], None]:
    def request(data: bytes) -> None:
        for path in paths:
            for upstream in UPSTREAMS:
                with contextlib.suppress(Refused, RouteError):
                    translation(upstream).request(data, "POST", path, [])

    return request


def answer_of(upstream: str) -> Callable[[bytes], None]:
    kinds = (dialects.get(upstream).stream_type, "application/json")

    def answer(data: bytes) -> None:
        status = 200 if not data or data[0] & 3 else 500
        for client, path in PATHS.items():
            for kind in kinds:
                t = translation(upstream)
                t.request(PROMPTS.get(client, ASKED), "POST", path, [])
                t.response_head(status, [("content-type", kind)])
                half = len(data) // 2
                t.response_body(data[:half])
                t.response_body(data[half:], True)

    return answer


def connection(data: bytes) -> None:
    calls = Calls({}, H2Limits(), Counters(), 0.0)
    head = block((":method", "POST"), (":scheme", "http"), (":path", "/x"), ("content-type", "application/grpc"))
    hello = frames.PREFACE + frames.settings({}) + frames.frame(frames.HEADERS, 4, 1, EMPTY_TABLE + head)
    for part in (hello, data):
        calls.receive(part, 0.0)
        while calls.more:
            calls.proceed(0.0)
        while calls.output(0.0):
            pass
    calls.tick(100.0)
    calls.abandon()


def message(data: bytes) -> None:
    session = _SERVICE.open()
    with contextlib.suppress(ValueError):
        session.receive(data)
    session.close()


def route(data: bytes) -> None:
    with contextlib.suppress(RouteError):
        compile_route([data.decode("utf-8", "replace")], environ={"KEY": "k"})


def name(data: bytes) -> None:
    text = data.decode("latin-1")
    assert plain(text) == plain(text).lower()
    may_carry_credential(text)
    dialects.detect("/" + text, b"")
    _MASK.data(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{f"a request of {name}": request_at(path) for name, path in PATHS.items()},
    "a request of another kind": request_at(*OTHERS),
    **{f"an answer of {name}": answer_of(name) for name in UPSTREAMS},
    "an HTTP/2 connection": connection,
    "a message of Envoy's": message,
    "a route's text": route,
    "names, and what is masked": name,
}


class Bugs(logging.Handler):
    """Exceptions that were caught and logged: a bug all the same."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.seen.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def slug(name: str) -> str:
    """A target's folder in the corpus."""
    return re.sub("[^a-z0-9]+", "-", name.lower())


def seeds() -> list[bytes]:
    """Where the fuzzing begins: what was recorded of the APIs, and what was once found."""
    files = sorted(path for folder in (GOLDEN, CORPUS) for path in folder.rglob("*") if path.is_file())
    texts = [path.read_bytes() for path in files if path.stat().st_size < 20_000]
    return [*texts, ASKED, b"provider: openai\nauth: {header: {Authorization: 'Bearer ${KEY}'}}\n"]
