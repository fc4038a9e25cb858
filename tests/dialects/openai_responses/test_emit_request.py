from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_responses.state import ENCRYPTED
from extproc.dialects.shared.naming import sha256
from extproc.llm.failures import Unsupported
from extproc.llm.request import Member, Message, Output, Reasoning, Sampling, Text

from .helpers import Json, emit


def test_the_least_that_is_sent() -> None:
    """Nothing is stored, and thinking comes sealed: the conversation itself is all there is."""
    out = emit()
    assert out.body == {
        "model": "gpt-5.1",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False,
        "include": [ENCRYPTED],
    }
    assert (out.call.method, out.call.path, out.losses) == ("POST", "/v1/responses", [])
    assert "include" not in emit("gpt-4o").body, "a model that does not reason refuses it"


def test_what_the_model_reads_first() -> None:
    system = [Message("system", "a", "s"), Message("system", [Text("b"), Text("c")], "t", "bob")]
    out = emit(system=system)
    assert out.body["instructions"] == "a\n\nb\n\nc"
    assert out.losses == ["t.name:dropped"]


@pytest.mark.parametrize(
    ("asked", "sent", "losses"),
    [
        (None, None, []),
        (100, 100, []),
        (16, 16, []),
        (1, 16, ["max_tokens:clamped"]),  # Claude Code asks so whether its key is good
        (999_999, 128_000, ["max_tokens:clamped"]),
    ],
)
def test_size(asked: int | None, sent: int | None, losses: list[str]) -> None:
    out = emit(sampling=Sampling(asked))
    assert (out.body.get("max_output_tokens"), out.losses) == (sent, losses)


def test_no_answer_at_all_is_refused() -> None:
    with pytest.raises(Unsupported, match="must be at least 1"):
        emit(sampling=Sampling(0))


SCHEMA: Json = {"type": "object", "properties": {}}
CLOSED = SCHEMA | {"additionalProperties": False, "required": []}


@pytest.mark.parametrize(
    ("output", "form", "losses"),
    [
        (Output("json_object"), {"type": "json_object"}, []),
        (
            Output("json_schema", CLOSED),
            {"type": "json_schema", "name": "response", "schema": CLOSED, "strict": True},
            [],
        ),
        (
            Output("json_schema", SCHEMA, "n", "d"),
            {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA, "strict": False},
            ["output:downgraded"],
        ),
        (
            Output("json_schema", SCHEMA, strict=True),
            {"type": "json_schema", "name": "response", "schema": SCHEMA, "strict": True},
            [],
        ),
    ],
)
def test_the_form_of_the_answer(output: Output, form: Json, losses: list[str]) -> None:
    out = emit(output=output)
    assert (out.body["text"], out.losses) == ({"format": form}, losses)


def test_a_model_that_cannot_be_held_to_a_schema_is_asked() -> None:
    out = emit(output=Output("json_schema", SCHEMA), quirks={"json_schema": False})
    assert out.body["text"] == {"format": {"type": "json_object"}}
    assert out.body["instructions"].endswith('match this JSON Schema:\n{"type":"object","properties":{}}')
    assert out.losses == ["output:emulated"]


@pytest.mark.parametrize(
    ("wish", "sent"),
    [
        (Reasoning(), None),
        (Reasoning(effort="high"), {"effort": "high"}),
        (Reasoning("adaptive"), {"summary": "auto"}),
        (Reasoning("adaptive", display="omitted"), None),
        (Reasoning("budget", budget=20000), {"effort": "high", "summary": "auto"}),
        (Reasoning(effort="low", display="summarized"), {"effort": "low", "summary": "auto"}),
        (Reasoning("adaptive", exclude=True), None),
        (Reasoning("off"), {"effort": "none"}),
        (Reasoning(effort="none", display="summarized"), {"effort": "none"}),
    ],
)
def test_reasoning(wish: Reasoning, sent: Json | None) -> None:
    assert emit(reasoning=wish).body.get("reasoning") == sent


def test_effort_goes_together_with_tools_here() -> None:
    """Which is why an operator may prefer this API for a model that refuses the two together in the other."""
    out = emit(reasoning=Reasoning(effort="high"), quirks={"effort_with_tools": False})
    assert (out.body["reasoning"], out.losses) == ({"effort": "high"}, [])


def test_sampling() -> None:
    full = Sampling(None, 0.5, 0.9, 5, ["x", "y"], 7, 0.5, 0.25)
    out = emit("gpt-4o", sampling=full)
    assert (out.body["temperature"], out.body["top_p"]) == (0.5, 0.9)
    lost = ["top_k", "seed", "frequency_penalty", "presence_penalty", "stop[0]", "stop[1]"]
    assert out.losses == [f"{name}:dropped" for name in lost]
    out = emit("gpt-5.1", sampling=Sampling(None, 0.5, 1))
    assert ("temperature" in out.body, out.losses) == (False, ["temperature:dropped"])


def test_who_and_how() -> None:
    members: dict[str, Any] = {"user_id": "u", "session_key": "k", "service_tier": "standard", "stream": True}
    out = emit(**members)
    sent = {name: out.body[name] for name in ("safety_identifier", "prompt_cache_key", "service_tier", "stream")}
    assert sent == {
        "safety_identifier": sha256("u"), "prompt_cache_key": "k", "service_tier": "default", "stream": True,
    }  # fmt: skip
    out = emit(provider="openai-compatible", **members)
    assert (out.body["user"], out.losses) == (sha256("u"), ["session_key:dropped"])
    assert emit(service_tier="batch").losses == ["service_tier:dropped"]


@pytest.mark.parametrize(
    ("extra", "members", "losses"),
    [
        ({"truncation": Member("auto", "truncation")}, {"truncation": "auto"}, []),
        ({"verbosity": Member("low", "verbosity")}, {"text": {"verbosity": "low"}}, []),
        ({"x": Member(1, "a.x")}, {}, ["a.x:dropped"]),
    ],
)
def test_other_members(extra: dict[str, Member], members: Json, losses: list[str]) -> None:
    out = emit(extra=extra)
    assert {k: out.body[k] for k in members} == members
    assert out.losses == losses


def test_members_that_matter_are_refused() -> None:
    with pytest.raises(Unsupported, match="n must be 1"):
        emit(extra={"n": Member(2, "n", essential=True, problem="n must be 1")})
