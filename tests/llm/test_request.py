from __future__ import annotations

import pytest

from extproc.llm.request import (
    Member,
    Message,
    Output,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    remembered,
)


def test_a_word_has_the_clients_path_or_its_own() -> None:
    request = Request(dialect="d", model="m", messages=[], at={"stop": "stop_sequences"})
    assert (request.path_of("stop"), request.path_of("max_tokens")) == ("stop_sequences", "max_tokens")


def test_what_is_remembered_of_a_request_holds_nothing_that_was_said() -> None:
    secret = "what the client said"
    call = ToolCall("c", "f", f'{{"a": "{secret}"}}')
    request = Request(
        dialect="d",
        model="m",
        messages=[
            Message("user", secret),
            Message("assistant", [Text(secret), call]),
            Message("tool", [ToolResult("c", secret)]),
        ],
        system=[Message("system", secret)],
        tools=[Tool("f", description=secret, schema={"description": secret}), Tool("p", "custom")],
        output=Output("json_schema", {"title": secret}),
        extra={"x": Member(secret, "x")},
        stream=True,
        user_id="u",
    )
    kept = remembered(request)
    assert secret not in repr(kept)
    assert kept.messages == [Message("assistant", [ToolCall("c", "f", "")])], "ids of calls are not given again"
    assert [(tool.name, tool.kind) for tool in kept.tools] == [("f", "function"), ("p", "custom")]
    assert (kept.stream, kept.output, kept.user_id) == (True, Output("json_schema"), "u")


def test_a_request_cannot_be_changed_in_passing() -> None:
    request = Request(dialect="d", model="m", messages=[])
    with pytest.raises(AttributeError):
        request.model = "other"  # type: ignore[misc]
    assert request.messages is not Request(dialect="d", model="m", messages=[]).messages
    assert request.at is not Request(dialect="d", model="m", messages=[]).at
