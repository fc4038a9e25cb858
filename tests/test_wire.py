"""One question, and what is seen of its answer."""

from __future__ import annotations

import pytest

from extproc.demo.provider import Gate, Received, ScriptedAnswer, ScriptedProvider, json_answer, sse_answer
from extproc.wire import NoAnswer, ask, base_url
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:10000", "http://127.0.0.1:10000"),
        ("http://127.0.0.1:10000/v1/", "http://127.0.0.1:10000"),
        ("https://llm.example.com/team", "https://llm.example.com/team"),
    ],
)
def test_a_base_url_is_taken_as_people_have_it(text: str, url: str) -> None:
    assert base_url(text) == url


def test_an_answer_is_seen_whole() -> None:
    def respond(request: Received) -> ScriptedAnswer:
        return json_answer({"path": request.path, "sent": request.body.decode()}, 404)

    with ScriptedProvider(respond) as there:
        seen = ask(f"http://127.0.0.1:{there.port}/base/", "/x", {"a": 1}, headers={"x-a": "b"})
        assert (seen.status, seen.json) == (404, {"path": "/base/x", "sent": '{"a": 1}'})
        assert there.received[0].header("x-a") == "b" and there.received[0].method == "POST"
        ask(f"http://127.0.0.1:{there.port}", "/", method="HEAD")
        assert there.received[1].method == "HEAD"


def test_a_streams_events_are_told_apart_with_their_times() -> None:
    chunks = [b'event: a\ndata: {"n": 1}\n\n', b"data: one\ndata: two\n\n", b": ping\n\ndata: [DONE]\n\n"]
    with ScriptedProvider(lambda request: sse_answer(chunks, pause=0.02)) as there:
        seen = ask(f"http://127.0.0.1:{there.port}", "/")
    assert seen.events == [("a", {"n": 1}), ("", "one\ntwo"), ("", "[DONE]")]
    assert seen.json is None and not seen.broken
    assert [at for at, _ in seen.pieces] == sorted(at for at, _ in seen.pieces) and len(seen.pieces) > 1


def test_a_transfer_that_breaks_off_is_seen() -> None:
    with ScriptedProvider(lambda request: ScriptedAnswer([b"x"], ending="reset")) as there:
        assert ask(f"http://127.0.0.1:{there.port}", "/").broken


@pytest.mark.parametrize("url", ["127.0.0.1:10000", "ftp://x", "http://[", "http://127.0.0.1:x"])
def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(NoAnswer):
        ask(url, "/")


def test_who_does_not_answer_is_left_in_time() -> None:
    with pytest.raises(NoAnswer, match="refused"):
        ask(f"http://127.0.0.1:{free_port()}", "/")
    gate = Gate()
    with ScriptedProvider(lambda request: ScriptedAnswer([b"", gate])) as there:
        seen = ask(f"http://127.0.0.1:{there.port}", "/", seconds=0.2)
        assert seen.broken
        gate.set()
