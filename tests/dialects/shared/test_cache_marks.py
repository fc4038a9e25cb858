"""Cache marks on their way to servers of OpenAI's APIs: some hand them on to Claude, OpenAI's newest have a word of
their own, the others cache by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Translation

MARK = {"type": "ephemeral"}


def text(said: str, mark: Any = MARK) -> dict[str, Any]:
    return {"type": "text", "text": said, **({"cache_control": mark} if mark else {})}


def sent(body: dict[str, Any], **route: Any) -> tuple[dict[str, Any], list[str]]:
    t = Translation("anthropic_messages", "openai_chat", route={"auth": "none", **route}, now=0)
    made = t.request(json.dumps({"model": "anthropic/claude-opus-5-5", "max_tokens": 9, **body}).encode())
    assert isinstance(made, Call)
    return json.loads(made.body), [str(loss) for loss in t.losses]


BODY = {
    "system": [text("s")],
    "messages": [
        {"role": "user", "content": [text("a", None), text("b", {"type": "ephemeral", "ttl": "1h"})]},
        {"role": "assistant", "content": [text("c", None)]},
        {"role": "user", "content": [text("d")]},
    ],
}
KNOWS: list[dict[str, Any]] = [
    {"provider": "openrouter"},
    {"provider": "openai-compatible", "quirks": {"cache_control": True}},
]


@pytest.mark.parametrize("route", KNOWS)
def test_a_server_that_knows_them_gets_them_where_they_stood(route: dict[str, Any]) -> None:
    body, losses = sent(BODY, **route)
    system, first, answer, last = body["messages"]
    assert system["content"] == [text("s")]
    assert first["content"] == [text("a", None), text("b", {"type": "ephemeral", "ttl": "1h"})]
    assert answer["content"] == "c" and last["content"] == [text("d")]
    assert not [loss for loss in losses if "cache" in loss]


@pytest.mark.parametrize("provider", ["openai", "openai-compatible", "deepseek"])
def test_any_other_gets_plain_texts_and_a_report(provider: str) -> None:
    body, losses = sent(BODY, provider=provider)
    assert "cache_control" not in json.dumps(body) and body["messages"][-1]["content"] == "d"
    assert "cache_control:dropped" in losses


def test_four_at_most_and_the_first_stay() -> None:
    turns = [{"role": "user", "content": [text(str(n))]} for n in range(6)]
    body, losses = sent({"messages": turns}, provider="openrouter")
    assert json.dumps(body).count("cache_control") == 4 and "cache_control:dropped" in losses
    assert json.dumps(body).index('"5"') > json.dumps(body).rindex("cache_control")


def test_a_server_that_takes_no_parts_gets_none() -> None:
    body, losses = sent(BODY, provider="openai-compatible", quirks={"cache_control": True, "content_parts": False})
    assert "cache_control" not in json.dumps(body) and "cache_control:dropped" in losses


LONG = {"type": "ephemeral", "ttl": "1h"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "name": "f", "input": {}}
RESULT = {"type": "tool_result"}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": [text("a"), text("b", None), {**CALL, "id": "t"}]},
    {"role": "user", "content": [{**RESULT, "tool_use_id": "t", "content": "r", "cache_control": LONG}]},
    {"role": "assistant", "content": [text("c", None), {**CALL, "id": "u", "cache_control": MARK}]},
    {"role": "user", "content": [{**RESULT, "tool_use_id": "u", "content": [text("x", None), text("y")]}]},
]
AGENT: dict[str, Any] = {"tools": [{**TOOL, "cache_control": MARK}], "messages": TURNS}
"""A mark at each place that an agent may put one, a fifth too many."""


def places(body: dict[str, Any], word: str) -> list[Any]:
    """Where marks stand: the text of a part or the name of a tool, and the mark."""
    found = [(tool["function"]["name"], tool[word]) for tool in body["tools"] if word in tool]
    for message in body["messages"]:
        content = message["content"]
        found += [(part["text"], part[word]) for part in content if word in part] if isinstance(content, list) else []
    return found


@pytest.mark.parametrize(
    ("route", "word", "stand"),
    [
        ({"provider": "openrouter"}, "cache_control", [("f", MARK), ("a", MARK), ("r", LONG), ("c", MARK)]),
        (
            {"provider": "openai-compatible", "quirks": {"cache_control": "texts"}},
            "cache_control",
            [("a", MARK), ("r", LONG), ("c", MARK), ("x\ny", MARK)],
        ),
        (
            {"provider": "openai", "options": {"model": "gpt-5.6"}},
            "prompt_cache_breakpoint",
            [
                ("a", {"mode": "explicit"}),
                ("r", {"mode": "explicit", "ttl": "12h"}),
                ("c", {"mode": "explicit"}),
                ("x\ny", {"mode": "explicit"}),
            ],
        ),
    ],
)
def test_every_place_of_an_agents_marks(route: dict[str, Any], word: str, stand: list[Any]) -> None:
    body, losses = sent(AGENT, **route)
    assert places(body, word) == stand
    assert [loss for loss in losses if "cache" in loss] == ["cache_control:dropped"], "the fifth"
    other = ({"cache_control", "prompt_cache_breakpoint"} - {word}).pop()
    assert other not in json.dumps(body)


def test_what_was_marked_stays_what_it_was_when_the_conversation_grows() -> None:
    shorter, _ = sent({**AGENT, "messages": TURNS[:3]}, provider="openrouter")
    longer, _ = sent(AGENT, provider="openrouter")
    assert longer["messages"][: len(shorter["messages"])] == shorter["messages"]


@pytest.mark.parametrize("provider", ["openai", "azure-openai", "deepseek"])
def test_nobody_else_sees_a_mark_and_texts_stay_strings(provider: str) -> None:
    body, _ = sent(AGENT, provider=provider, options={"model": "gpt-5.4-mini"})
    assert "cache" not in json.dumps(body)
    assert [message["content"] for message in body["messages"]] == ["q", "ab", "r", "c", "x\ny"]


def test_the_responses_api_bears_them_on_what_is_put_in() -> None:
    t = Translation(
        "anthropic_messages",
        "openai_responses",
        route={"provider": "openai", "auth": "none", "options": {"model": "gpt-5.6"}},
        now=0,
    )
    system = {"role": "system", "content": [text("mid", LONG)]}
    body = {**AGENT, "messages": [{"role": "user", "content": [text("q")]}, system, *TURNS[1:]]}
    made = t.request(json.dumps({"model": "m", "max_tokens": 99, **body}).encode())
    assert isinstance(made, Call)
    marked = [
        (part["text"], part["prompt_cache_breakpoint"])
        for item in json.loads(made.body)["input"]
        for part in (item.get("content") or item.get("output") or ())
        if isinstance(part, dict) and "prompt_cache_breakpoint" in part
    ]
    long = {"mode": "explicit", "ttl": "12h"}
    assert marked == [("q", {"mode": "explicit"}), ("mid", long), ("r", long), ("y", {"mode": "explicit"})]
