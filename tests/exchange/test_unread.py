"""What passes unread, message by message: the head goes on at once, the body is never seen."""

from __future__ import annotations

import msgspec
import pytest

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.exchange.attributes import ATTEMPT
from extproc.exchange.phases import Phase

from .conversation import OPENAI, Conversation, leaf

ALL = "{provider: openai, endpoints: all, auth: {header: {Authorization: Bearer key-of-openai}}}"
FORM = {"content-type": "multipart/form-data; boundary=B", "content-length": "99", "authorization": "Bearer theirs"}


def asked(path: str, headers: dict[str, str], *, method: str = "POST", end: bool = False, text: str = ALL,
          attempt: int = 0) -> Conversation:  # fmt: skip
    envoy = Conversation()
    envoy.headers(path, headers, method=method, end=end, attributes=leaf(text) | {ATTEMPT: attempt})
    return envoy


@pytest.mark.parametrize("attempt", [0, 1])
@pytest.mark.parametrize(
    ("method", "path", "headers", "end"),
    [("POST", "/v1/files", FORM, False), ("GET", "/v1/files?limit=3", {"authorization": "Bearer theirs"}, True)],
)
def test_the_head_goes_on_at_once(method: str, path: str, headers: dict[str, str], end: bool, attempt: int) -> None:
    envoy = asked(path, headers, method=method, end=end, attempt=attempt)
    assert envoy.immediate is None
    assert envoy.upstream["authorization"] == "Bearer key-of-openai" and envoy.upstream[":path"] == path
    assert envoy.upstream.get("content-length") == headers.get("content-length")
    envoy.answer(200, {"content-type": "application/octet-stream", "server": "theirs"})
    assert envoy.exchange.phase is Phase.PASSING and "server" not in envoy.client
    assert envoy.override == ProcessingMode.NONE
    assert envoy.exchange.close().ending.value == "passed"


def test_the_usage_of_json_is_told() -> None:
    envoy = asked("/v1/images/generations", {"content-type": "application/json"})
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.exchange.phase is Phase.STREAMING
    body = b'{"data": [], "usage": {"input_tokens": 3, "output_tokens": 4}}'
    envoy.chunk(body[:20])
    envoy.chunk(body[20:], end=True)
    assert envoy.got == body and (envoy.metadata["input_tokens"], envoy.metadata["output_tokens"]) == (3, 4)


@pytest.mark.parametrize("end", [False, True])
def test_a_body_that_must_be_read_is_waited_for(end: bool) -> None:
    text = ALL.replace("endpoints: all", "options: {model: gpt-image-1}")
    envoy = asked("/v1/images/generations", {"content-type": "application/json"}, text=text, end=end)
    assert envoy.exchange.phase is (Phase.SENT if end else Phase.REQUEST)
    if not end:
        envoy.body({"model": "x", "prompt": "a"})
        assert msgspec.json.decode(envoy.sent) == {"model": "gpt-image-1", "prompt": "a"}


@pytest.mark.parametrize(
    ("text", "status"), [(OPENAI, 404), ("{provider: nobody}", 500), (ALL.replace("key-of", "${file:/nowhere}"), 500)]
)
def test_what_is_not_served_is_said_at_once(text: str, status: int) -> None:
    envoy = asked("/v1/files", FORM, text=text)
    assert envoy.immediate is not None and envoy.immediate[0] == status and "error" in envoy.immediate[2]


def test_an_upgrade_passes_and_its_key_stays_behind() -> None:
    protocols = "realtime, openai-insecure-api-key.theirs"
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-protocol": protocols}
    envoy = asked("/v1/realtime?model=m", headers, method="GET")
    assert (envoy.upstream["upgrade"], envoy.upstream["connection"]) == ("websocket", "Upgrade")
    assert envoy.upstream["sec-websocket-protocol"] == "realtime"
    envoy.answer(101, {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": "x"})
    assert envoy.exchange.phase is Phase.PASSING and envoy.client["sec-websocket-accept"] == "x"


def test_somebody_elses_path_goes_by_where_the_route_says_nothing() -> None:
    envoy = Conversation()
    envoy.headers("/v1/files", FORM, attributes={ATTEMPT: 0})
    assert envoy.immediate is None and envoy.exchange.phase is Phase.PASSING
