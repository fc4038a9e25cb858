"""What becomes of a client's request, as a value."""

from __future__ import annotations

import json

import pytest

from extproc.llm.failures import ErrorKind
from extproc.translation.calls import Answer, Call, CallCredentials, refused, render_error

KEYS = CallCredentials([("authorization", "Bearer SECRET")], "key=SECRET")


@pytest.mark.parametrize(("path", "whole"), [("/p", "/p?key=SECRET"), ("/p?a=1", "/p?a=1&key=SECRET")])
def test_a_call_shows_its_credential_to_who_sends_it_alone(path: str, whole: str) -> None:
    call = Call("POST", path, [("a", "b")], b"{}", credentials=KEYS)
    assert call.full_path() == whole and call.all_headers() == [("a", "b"), ("authorization", "Bearer SECRET")]
    assert "SECRET" not in f"{call!r} {call.headers} {call.path} {KEYS!r} {KEYS}"


def test_a_call_without_a_credential_is_sent_as_it_is() -> None:
    call = Call("POST", "/p", [("a", "b")], b"{}")
    assert (call.full_path(), call.all_headers()) == ("/p", [("a", "b")])


def test_an_answer_and_an_error_are_two_things() -> None:
    assert Answer(200, [], b"{}", "estimated").why == "estimated"
    error = refused("anthropic_messages", ErrorKind.TOO_LARGE, "too much")
    assert (error.status, str(error), error.failed.ours) == (413, "too much", True)
    assert json.loads(error.body)["type"] == "error"
    head, body = render_error(None, error.failed)
    assert head.status == 413 and "type" not in json.loads(body), "an unknown client is answered in OpenAI's shape"
