from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.base import Operation, Upstream

from .helpers import DIALECT, PATH, STREAM

GOOGLES = "/v1beta/models/{model}"


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (PATH.format("m"), Operation.ANSWER),
        (STREAM.format("m"), Operation.ANSWER),
        ("/v1beta/models/m:countTokens", Operation.COUNT),
        ("/v1beta/models/m:countTokens/?key=k", Operation.COUNT),
    ],
)
def test_what_a_path_asks_for(path: str, operation: Operation) -> None:
    assert DIALECT.operation(path) is operation
    assert DIALECT.peek(path, {}).operation is operation


@pytest.mark.parametrize(
    ("asked_at", "sent_to"),
    [
        (PATH.format("m"), "/v1beta/models/m:generateContent"),
        (STREAM.format("m"), "/v1beta/models/m:streamGenerateContent?alt=sse"),
        # Who asks for one array gets one from its own kind of upstream.
        ("/v1/models/m:streamGenerateContent?key=k", "/v1beta/models/m:streamGenerateContent"),
    ],
)
def test_a_stream_is_asked_for_in_the_clients_form(asked_at: str, sent_to: str) -> None:
    assert DIALECT.address(Upstream("gemini", GOOGLES, verbs=None), DIALECT.peek(asked_at, {})) == ("POST", sent_to)


def test_a_count_is_asked_for_at_the_models_own_path() -> None:
    asked = DIALECT.peek("/v1beta/models/m:countTokens", {})
    address = DIALECT.count_address(Upstream("gemini", GOOGLES), asked)
    assert address == ("POST", "/v1beta/models/m:countTokens")


def test_an_endpoint_with_verbs_of_its_own_counts_nothing() -> None:
    asked = DIALECT.peek("/v1beta/models/m:countTokens", {})
    own = Upstream("gemini", GOOGLES, verbs=(":predict", ":predictStream"))
    assert DIALECT.count_address(own, asked) is None


@pytest.mark.parametrize(("members", "own"), [({"contents": []}, True), ({"messages": []}, False), ({}, False)])
def test_which_bodies_are_its_own(members: Any, own: bool) -> None:
    assert DIALECT.claims(members) is own
