"""Values that go into a dialect and come out of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from extproc.dialects.values import Asked, ClientCall, Opened, ResponseHead, Upstream, is_stream
from extproc.llm.failures import Unsupported

ODD = "ti/tan v1:0"


@pytest.mark.parametrize(
    ("path", "verbs", "stream", "sent"),
    [
        ("/v1/messages", None, True, "/v1/messages"),
        ("/m/{model}", None, False, "/m/ti%2Ftan%20v1%3A0"),
        ("/m/{model}", (":a", ":b?alt=sse"), False, "/m/ti%2Ftan%20v1%3A0:a"),
        ("/m/{model}", (":a", ":b?alt=sse"), True, "/m/ti%2Ftan%20v1%3A0:b?alt=sse"),
        ("/m/{model}?v=1", (":a", ":b?alt=sse"), True, "/m/ti%2Ftan%20v1%3A0:b?alt=sse&v=1"),
        ("/m/{model}?v=1", (":a", ":b?alt=sse"), False, "/m/ti%2Ftan%20v1%3A0:a?v=1"),
        ("/m/fixed:a", (":a", ":b?alt=sse"), True, "/m/fixed:b?alt=sse"),
        ("/m/fixed:b", (":a", ":b?alt=sse"), False, "/m/fixed:a"),
        ("/m/fixed", ("/converse", "/converse-stream"), True, "/m/fixed/converse-stream"),
        ("/m/fixed/converse-stream", ("/converse", "/converse-stream"), True, "/m/fixed/converse-stream"),
    ],
)
@pytest.mark.rows("B17")
def test_a_path_has_the_model_and_what_the_stream_demands(
    path: str, verbs: tuple[str, str] | None, stream: bool, sent: str
) -> None:
    assert Upstream("p", path).at(Asked(ODD, stream), verbs) == sent
    assert Upstream("p", path, verbs=verbs).at(Asked(ODD, stream), ("/x", "/y")) == sent or verbs is None


@pytest.mark.parametrize("model", ["", ".", ".."])
@pytest.mark.rows("B17", "B18")
def test_a_path_without_a_model_is_never_made(model: str) -> None:
    with pytest.raises(Unsupported):
        Upstream("p", "/m/{model}:a").at(Asked(model))
    assert Upstream("p", "/m").at(Asked(model)) == "/m"


def test_several_headers_of_one_name_are_one_value() -> None:
    call = ClientCall("POST", "/", [("a", "1"), ("b", "x"), ("a", "2")], b"")
    assert (call.header("a"), call.header("b"), call.header("c")) == ("1,2", "x", None)


@pytest.mark.parametrize(
    ("status", "content_type", "streams"),
    [
        (200, "text/event-stream", True),
        (200, " Text/Event-Stream ; charset=utf-8", True),
        (200, "application/vnd.amazon.eventstream", True),
        (200, "application/json", False),
        (200, None, False),
        (500, "text/event-stream", False),
    ],
)
def test_a_head_says_whether_a_stream_follows(status: int, content_type: str | None, streams: bool) -> None:
    headers = [("x", "y")] if content_type is None else [("content-type", content_type), ("content-type", "text/html")]
    assert is_stream(ResponseHead(status, headers)) == streams


def test_members_of_another_body_are_not_taken_for_this_one_s() -> None:
    seen = b'{"model": "a"}'
    call = ClientCall("POST", "", [], seen, Opened(seen, {"model": "seen"}))
    assert call.is_opened
    assert call.members() == {"model": "seen"}
    other = replace(call, body=b'{"model": "b"}')
    assert not other.is_opened
    assert bytes(other.members()["model"]) == b'"b"'


def test_members_are_the_callers_own() -> None:
    seen = b"{}"
    call = ClientCall("POST", "", [], seen, Opened(seen, {"model": "seen"}))
    call.members().clear()
    assert call.members() == {"model": "seen"}
