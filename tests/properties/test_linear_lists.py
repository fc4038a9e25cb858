"""Time grows with the length of whatever is long: of every list, object and event in what was recorded of the APIs,
with policies and without."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from extproc import Refused, Translation, dialects
from tests.fuzz.targets import ASKED, PATHS, POLICIES, PROMPTS, UPSTREAMS, translation

from . import lengthened, pipeline
from .growth import TIMES, grows_with_its_length, spread

Json = Any
NAMES = tuple(PATHS)
MODELS = {
    "openai_chat": "gpt-4o", "anthropic_messages": "claude-sonnet-4-5", "openai_responses": "gpt-5.4-mini",
    "gemini": "gemini-2.5-flash", "bedrock_converse": "anthropic.claude-haiku-4-5-v1:0",
}  # fmt: skip
SMALL, MOST = 300, 40
RECORDED = {
    "openai_chat": "tools_interleaved.sse", "anthropic_messages": "thinking_and_tools.sse",
    "openai_responses": "agent_turn.sse", "gemini": "thinking_and_call.sse", "bedrock_converse": "tools_parallel.bin",
}  # fmt: skip
REQUESTS = [
    pytest.param(client, upstream, longer, id=f"{client}-{upstream}-{name}")
    for client in NAMES
    for place, (name, longer) in enumerate(lengthened.requests(client))
    for upstream in spread(NAMES, place, 1)
]
ITS_OWN = [
    pytest.param(client, longer, id=f"{client}-{name}")
    for client in NAMES
    for name, longer in lengthened.requests(client)
]
STREAMS = [
    pytest.param(client, upstream, longer, id=f"{upstream}-{client}-{name}")
    for upstream in NAMES
    for place, (name, longer) in enumerate(lengthened.streams(upstream))
    for client in spread(NAMES, place, 1)
]


def some(cases: list[Any]) -> list[Any]:
    """With HYPOTHESIS_PROFILE=long all of *cases*, else some of each API."""
    return cases if TIMES > 1 else cases[:: max(1, len(cases) // MOST)]


def whole(dialect: str) -> Json:
    """An answer of it with a text, calls and whatever else one recorded stream of it has, that is no stream."""
    response = pipeline.translated(dialect, dialect, stream=False)
    stream = (pipeline.GOLDEN / dialect / RECORDED[dialect]).read_bytes()
    return json.loads(response.feed(stream, False) + response.feed(b"", True))


WHOLES = [
    pytest.param(client, upstream, longer, id=f"{upstream}-{client}-{name}")
    for upstream in NAMES
    for place, (name, longer) in enumerate(lengthened.wholes(whole(upstream)))
    for client in spread(NAMES, place, 1)
]


def asking(
    client: str, upstream: str, body: Json, models: Mapping[str, str] = MODELS, **more: Any
) -> Callable[[], object]:
    """A request of *body* to the client's of *models*, on a route with *more* members."""
    model = models[client]
    path = PATHS[client].replace("/m:", f"/{model}:").replace("/m/", f"/{model}/")
    data = json.dumps(body if client in ("gemini", "bedrock_converse") else {**body, "model": model}).encode()

    def ask() -> object:
        with contextlib.suppress(Refused):
            return translation(upstream, **more).request(data, "POST", path, [])
        return None

    return ask


def answered(client: str, upstream: str, kind: str, data: bytes, **more: Any) -> Callable[[], object]:
    pieces = [data[at : at + 16384] for at in range(0, len(data), 16384)]

    def run() -> object:
        t: Translation = translation(upstream, **more)
        t.request(PROMPTS.get(client, ASKED), "POST", PATHS[client], [])
        t.response_head(200, [("content-type", kind)])
        return [*(t.response_body(piece) for piece in pieces), t.response_body(b"", True)]

    return run


@pytest.mark.parametrize(("client", "upstream", "longer"), some(REQUESTS))
def test_time_grows_with_a_request(client: str, upstream: str, longer: Callable[[int], Json]) -> None:
    grows_with_its_length(lambda n: asking(client, upstream, longer(n)), SMALL)


@pytest.mark.parametrize(("client", "longer"), some(ITS_OWN))
def test_time_grows_with_a_request_that_policies_change(client: str, longer: Callable[[int], Json]) -> None:
    grows_with_its_length(lambda n: asking(client, client, longer(n), policies=POLICIES), SMALL)


@pytest.mark.parametrize(("client", "upstream", "longer"), some(STREAMS))
def test_time_grows_with_a_stream(client: str, upstream: str, longer: lengthened.Longer) -> None:
    kind = dialects.get(upstream).stream_type
    grows_with_its_length(lambda n: answered(client, upstream, kind, longer(n)), SMALL)


@pytest.mark.parametrize(("client", "upstream", "longer"), some(WHOLES))
def test_time_grows_with_a_whole_answer(client: str, upstream: str, longer: lengthened.Longer) -> None:
    grows_with_its_length(lambda n: answered(client, upstream, "application/json", longer(n)), SMALL)


def test_every_api_is_here() -> None:
    assert set(NAMES) == set(UPSTREAMS) == set(MODELS)
    assert all(len(each) > 30 for each in (REQUESTS, ITS_OWN, STREAMS, WHOLES))
