from __future__ import annotations

from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import ScriptedProvider
from extproc.demo.script import decide, pieces, words

from .asking import CHAT_TOOL, WEATHER, said
from .asking import provider as provider


@pytest.mark.parametrize(
    ("respond", "asked"),
    [
        (as_openai.answer, {"messages": [{"role": "user", "content": WEATHER}], "tools": [CHAT_TOOL]}),
        (as_anthropic.answer, {"messages": [{"role": "user", "content": WEATHER}], "tools": [{"name": "get_weather"}]}),
    ],
)
def test_one_call_for_each_city(provider: ScriptedProvider, respond: Any, asked: dict[str, Any]) -> None:
    provider.respond = respond
    text = said(provider, {"model": "m", **asked}, False)
    assert text.count("get_weather") == 2 and "Paris" in text and "Oslo" in text


@pytest.mark.parametrize(
    ("question", "tools", "results", "forced", "calls"),
    [
        ("Paris?", ["get_weather"], [], None, [("get_weather", "Paris")]),
        ("Paris?", ["delete", "get_goal"], [], None, []),
        ("Paris?", ["delete"], [], "delete", [("delete", "Paris")]),
        ("Nowhere?", ["get_weather"], [], None, [("get_weather", "Paris")]),
        ("Paris?", ["get_weather"], ["rain"], None, []),
    ],
)
def test_what_is_said(
    question: str, tools: list[str], results: list[str], forced: str | None, calls: list[tuple[str, str]]
) -> None:
    said = decide(question, tools, results, forced)
    assert [(name, given["city"]) for _, name, given in said.calls] == calls
    assert bool(said.text) is not bool(calls) and said == decide(question, tools, results, forced)
    assert said.tokens > 0 and ("rain" in said.text) == bool(results)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Hi <b>you</b>", "Hi <b>you</b>"),
        ("<system-reminder>\nBe kind.\n</system-reminder>\nHi\n<system>cut", "Hi"),
        ("<session_context>\n/tmp\n</session_context>\nHi", "Hi"),
        ("<system>all of it</system>", ""),
    ],
)
def test_what_agents_add_is_not_the_question(text: str, own: str) -> None:
    assert words(text) == own


def test_pieces_join_to_the_whole() -> None:
    text = "a text of some length"
    assert "".join(pieces(text)) == text and len(pieces(text)) == 3 and pieces("") == []
