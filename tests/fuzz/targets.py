"""What reads bytes from outside, each as a function that must neither raise nor take long, and what to begin with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from extproc import Refused, RouteError, Translation, capabilities, dialects
from extproc.check import check
from extproc.check.tree import Unreadable
from extproc.costs import prices
from extproc.credentials.masking import Mask
from extproc.framing.inflate import InflateError, Inflater, inflated
from extproc.gateway import FileError, lay_out
from extproc.gateway.file import read as read_gateway
from extproc.importers import ImportFailed, convert
from extproc.names import may_carry_credential, plain
from extproc.route import compile_route
from extproc.route.catalogue import read_catalogue
from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.session import Session as Calls
from extproc.server.service import Service
from extproc.settings import Settings
from extproc.telemetry.admin import Admin, HttpRequest
from tests.telemetry.test_admin import Pages

CORPUS = Path(__file__).parent / "corpus"
GOLDEN = Path(__file__).parent.parent / "golden"
SEEDS = (GOLDEN, GOLDEN.parent / "check" / "cases", GOLDEN.parent / "importers" / "cases", CORPUS)
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
VECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_embeddings": ("openai", {}),
    "gemini_embeddings": ("gemini", {}),
    "vertex_predict": ("vertex-ai", {"provider_conf": {"project_id": "p", "region": "r"}}),
    "titan_embeddings": ("bedrock", {"provider_conf": {"region": "us-east-1"}}),
    "nova_embeddings": ("bedrock", {"provider_conf": {"region": "us-east-1"}}),
    "cohere_embeddings": ("cohere", {}),
    "cohere_bedrock": ("bedrock", {"provider_conf": {"region": "us-east-1"}}),
}
"""A provider of each API of vectors."""
POLICIES: list[dict[str, Any]] = [
    {"prompt_guard": {"deny_patterns": ["(a+)+$", "secret"], "match_all_roles": True,
                      "match_all_conversation_history": True}},
    {"redact": {"recognisers": ["email", "phone", "card", "iban", "ip"], "restore": True}},
    {"prompt_decorator": {"prepend": [{"role": "system", "content": "s"}],
                          "append": [{"role": "user", "content": "u"}]}},
    {"tool_filter": {"deny": ["f*"], "rename": {"g": "h"}, "max_tools": 3}},
]  # fmt: skip
"""What asks nobody."""
_SERVICE = Service(Settings())
_ADMIN = Admin(Pages())
_MASK = Mask(["sk-secret-0123456789"])


def translation(upstream: str, **more: Any) -> Translation:
    route = {"provider": UPSTREAMS[upstream], "auth": "none", "losses": "report", **more}
    return Translation(upstream=upstream, route=route, now=1.0)


def request_at(*paths: str, **more: Any) -> Callable[[bytes], None]:
    def request(data: bytes) -> None:
        for path in paths:
            for upstream in UPSTREAMS:
                with contextlib.suppress(Refused, RouteError):
                    translation(upstream, **more).request(data, "POST", path, [])

    return request


def answer_of(upstream: str, **more: Any) -> Callable[[bytes], None]:
    kinds = (dialects.get(upstream).stream_type, "application/json")

    def answer(data: bytes) -> None:
        status = 200 if not data or data[0] & 3 else 500
        for client, path in PATHS.items():
            for kind in kinds:
                t = translation(upstream, **more)
                t.request(PROMPTS.get(client, ASKED), "POST", path, [])
                t.response_head(status, [("content-type", kind)])
                half = len(data) // 2
                t.response_body(data[:half])
                t.response_body(data[half:], True)

    return answer


def vectors_of(upstream: str) -> Callable[[bytes], None]:
    provider, more = VECTORS[upstream]
    route = {"provider": provider, "upstream": upstream, "auth": "none", "losses": "report", **more}

    def answer(data: bytes) -> None:
        for asked in (b'{"model":"m","input":["a","b"]}', b'{"model":"m","input":"a","encoding_format":"base64"}'):
            t = Translation(route=route, now=1.0)
            with contextlib.suppress(Refused):
                t.request(asked, "POST", "/v1/embeddings", [])
                t.response_head(200 if not data or data[0] & 3 else 500, [("content-type", "application/json")])
                t.response_body(data, True)
        with contextlib.suppress(Refused, RouteError):
            Translation(route=route, now=1.0).request(data, "POST", "/v1/embeddings", [])

    return answer


def compressed(data: bytes) -> None:
    for encoding in ("gzip", "deflate", "zstd", "gzip, zstd"):
        with contextlib.suppress(InflateError):
            assert len(inflated(data, encoding, 100_000)) <= 100_000
        with contextlib.suppress(InflateError):
            inflater = Inflater.for_encoding(encoding, 100_000)
            for at in range(0, len(data), 1000):
                if inflater is not None:
                    inflater.feed(data[at : at + 1000])


def models(data: bytes) -> None:
    with contextlib.suppress(RouteError):
        catalogue = read_catalogue(data.decode("utf-8", "replace"))
        catalogue.find_line("gpt-5.4-mini")
        catalogue.unknown("m")


def configuration(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        check(data.decode("utf-8", "replace"))


def file_of_a_gateway(data: bytes) -> None:
    with contextlib.suppress(FileError):
        lay_out(read_gateway(data.decode("utf-8", "replace")))


def imported(source: str, data: bytes) -> None:
    with contextlib.suppress(ImportFailed):
        convert(source, data)


def table(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        with contextlib.suppress(capabilities.CapabilityError):
            capabilities.load(file.name)
        with contextlib.suppress(prices.PriceError):
            prices.load(file.name)


def asked_of_the_admin_port(data: bytes) -> None:
    request = HttpRequest(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", "127.0.0.1")
    answer = asyncio.run(_ADMIN.answer(request))
    assert answer.startswith(b"HTTP/1.1 ")


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
    **{f"vectors of {name}": vectors_of(name) for name in VECTORS},
    **{f"a request of {name}, with policies": request_at(path, policies=POLICIES) for name, path in PATHS.items()},
    **{f"an answer of {name}, with policies": answer_of(name, policies=POLICIES) for name in UPSTREAMS},
    "a compressed body": compressed,
    "a list of models": models,
    "Envoy's configuration, checked": configuration,
    "an extproc.yaml": file_of_a_gateway,
    **{f"routes of {source}": partial(imported, source) for source in ("apisix", "aigw", "litellm")},
    "a table of models": table,
    "a request at the admin port": asked_of_the_admin_port,
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
    # What was found once is tried first: from the end.
    files = [path for folder in SEEDS for path in sorted(folder.rglob("*")) if path.is_file()]
    texts = [path.read_bytes() for path in files if path.stat().st_size < 20_000]
    return [ASKED, b"provider: openai\nauth: {header: {Authorization: 'Bearer ${KEY}'}}\n", *texts]
