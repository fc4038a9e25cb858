from __future__ import annotations

import json

from openai.types.responses import Response

from extproc.dialects.openai_responses.state import ECHOED, UNKNOWN, ResponsesState

from .helpers import USER, parse


def test_a_response_without_any_request_says_all_that_the_sdk_demands() -> None:
    required = {name for name, field in Response.model_fields.items() if field.is_required()}
    said = {"id", "object", "created_at", "model", "output"}  # by the response itself
    assert required - said <= set(ECHOED)
    Response.model_validate({"id": "r", "object": "response", "created_at": 0, "model": "m", "output": [], **ECHOED})


def test_what_a_request_settles() -> None:
    request, _ = parse({"input": [USER], "temperature": 0.5, "include": [], "metadata": {"a": "b"}})
    state = request.client_state
    assert isinstance(state, ResponsesState)
    assert set(state.echo) <= set(ECHOED) and (state.echo["temperature"], state.echo["metadata"]) == (0.5, {"a": "b"})
    assert not state.named and not state.searches


def test_nothing_is_settled_by_a_request_that_was_not_read() -> None:
    assert ResponsesState() == UNKNOWN and UNKNOWN.echo == {}
    json.dumps(ECHOED)
