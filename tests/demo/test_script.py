from __future__ import annotations

from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import ScriptedProvider
from extproc.demo.script import decide, pieces

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
        ("Paris?", ["delete"], [], None, []),
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


def test_pieces_join_to_the_whole() -> None:
    text = "a text of some length"
    assert "".join(pieces(text)) == text and len(pieces(text)) == 3 and pieces("") == []
