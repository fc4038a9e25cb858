from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import get_args

import pytest
from anthropic._data.deprecated_models import DEPRECATED_MODELS
from anthropic.types.model_param import ModelParam
from openai.types.shared import chat_model
from openai.types.shared.all_models import AllModels

from extproc.capabilities import CapabilityError, CapabilityTable, load, normalize, packaged


@pytest.mark.parametrize(
    ("model", "normal"),
    [
        ("claude-opus-4-6", "claude-opus-4-6"),
        ("claude-opus-4.6", "claude-opus-4-6"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-5.1-2025-11-13", "gpt-5-1-2025-11-13"),
        ("Claude-Sonnet-4-5", "claude-sonnet-4-5"),
        ("vertex_ai/claude-opus-4-7@default", "claude-opus-4-7"),
        ("openrouter/anthropic/claude-opus-4.6:free", "claude-opus-4-6"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5"),
        ("claude-4.5-sonnet", "claude-sonnet-4-5"),
        ("anthropic/claude-4.5-sonnet:thinking", "claude-sonnet-4-5"),
        ("claude-4-opus-20250514", "claude-opus-4"),
        ("claude-haiku-3.5", "claude-3-5-haiku"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("models/gemini-2.5-pro", "gemini-2-5-pro"),
        ("accounts/fireworks/models/kimi-k2_5", "kimi-k2-5"),
        ("qwen.qwen3-32b-v1:0", "qwen3-32b"),
        ("mistral:latest", "mistral"),
        ("databricks-claude-3-7-sonnet", "claude-3-7-sonnet"),
        ("anthropic--claude-4-sonnet", "claude-sonnet-4"),
        ("openai-gpt-5.2", "gpt-5-2"),
        ("gpt5.2", "gpt-5-2"),
        ("gpt-35-turbo-16k", "gpt-3-5-turbo-16k"),
        ("ft:gpt-4o-2024-08-06:org::id", "gpt-4o-2024-08-06"),
        ("moonshot-v1-8k", "moonshot-v1-8k"),
        ("@", "@"),
        ("", ""),
    ],
)
def test_a_model_is_known_by_all_its_names(model: str, normal: str) -> None:
    assert normalize(model) == normal


def test_the_longest_prefix_wins_and_the_unknown_is_free() -> None:
    table = packaged()
    assert table.find("anthropic", "claude-opus-5-5").forced_tool is False
    assert table.find("anthropic", "claude-opus-5").forced_tool is True
    assert table.find("anthropic", "claude-nova-9").preserved_thinking is True
    assert table.find("openai", "gpt-4o-mini").max_output == 16384
    free = table.find("openai-compatible", "my-model")
    assert (free.max_output, free.sampling, free.token_field) == (None, True, "max_tokens")
    assert free.efforts == ["low", "medium", "high"]


def test_quirks_go_over_the_row() -> None:
    assert packaged().find("openai", "gpt-4o", {"max_output": 5}).max_output == 5
    with pytest.raises(CapabilityError, match=r"quirks: .*max_outputs.*known members: max_output"):
        packaged().find("openai", "gpt-4o", {"max_outputs": 5})


def test_the_operators_file_goes_over_the_packaged_one(tmp_path: Path) -> None:
    own = tmp_path / "capabilities.yaml"
    own.write_text("models: {my-model: {max_output: 77}, gpt-4o: {max_output: 1, thinking_default: on}}\n")
    table = load(own)
    assert table.find("openai", "my-model-2").max_output == 77
    assert table.find("openai", "gpt-4o").max_output == 1
    assert table.find("anthropic", "claude-opus-5").max_output == 128000


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: {m: {max_output: many}}", "models.m: .*max_output"),
        ("models: {m: {at: [1]}}", r"models.m.at: expected a mapping"),
        ("models: {m: {at: {openai: 1}}}", r"models.m.at.openai: "),
        ("models: {m: {colour: 1}}", "models.m: .*colour.*known members"),
        ("model: {}", "unknown section 'model'; expected default, models, providers, sources"),
        ("models: []", "models: expected a mapping"),
        ("- a", "expected a mapping with"),
        ("{", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(CapabilityError, match=problem):
        load(own)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_bytes(b"models: {\xff: {}}")
    with pytest.raises(CapabilityError, match="not UTF-8"):
        load(own)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(CapabilityError, match="No such file"):
        load("/nonexistent/file.yaml")


def test_of_a_long_name_what_is_kept_is_short() -> None:
    table = packaged()
    before = table._lookup.cache_info().hits
    one, other = (table.find("openai", "gpt-5.4-mini" + "x" * size) for size in (10_000, 1_000_000))
    assert one == other and table._lookup.cache_info().hits == before + 1


def test_lookups_are_bounded() -> None:
    table = CapabilityTable({"models": {"m": {"max_output": 1}}})
    for n in range(3000):
        table.find("openai", f"m-{n}")
    assert table._lookup.cache_info().currsize <= 1024


def test_a_number_in_a_prefix_is_a_whole_one() -> None:
    table = packaged()
    assert table.prefix("gpt-4-1106-preview") == "gpt-4-1106"
    assert table.prefix("gpt-4.1-2025-04-14") == "gpt-4-1"
    assert table.prefix("claude-opus-4-20250514") == "claude-opus-4"
    assert table.prefix("claude-opus-44") == "claude"


def test_rows_that_are_like_others_and_members_at_one_provider() -> None:
    table = CapabilityTable({
        "sources": {"here": {"what": "a page", "seen": date(2026, 1, 2)}},
        "providers": {"p": {"top_k": True}},
        "models": {
            "A1.5": {"max_output": 5, "stop": False, "ends": date(2026, 2, 3), "source": "here"},
            "b": {"like": "A1.5", "max_output": 6, "at": {"p": {"stop": True}}, "seen": date(2026, 3, 4)},
        },
    })  # fmt: skip
    assert (table.find("q", "b").max_output, table.find("q", "b").stop) == (6, False)
    assert (table.find("p", "b").stop, table.find("p", "b").top_k) == (True, True)
    assert table.find("q", "x/a1-5").max_output == 5
    assert (table.ends("a1.5-mini"), table.ends("b"), table.ends("c")) == (date(2026, 2, 3), None, None)
    assert (table.seen("A1.5"), table.seen("b")) == (date(2026, 1, 2), date(2026, 3, 4))


@pytest.mark.parametrize("rows", [{"a": {"like": "b"}}, {"a": {"like": "a"}}, {"a": {"like": "b"}, "b": {"like": "a"}}])
def test_a_like_without_its_row(rows: dict[str, dict[str, str]]) -> None:
    with pytest.raises(CapabilityError, match="is no other row"):
        CapabilityTable({"models": rows})


def test_every_row_says_where_it_is_known_from_and_when() -> None:
    table = packaged()
    for name, row in table.rows.items():
        assert row.source in table.sources, name
        assert table.seen(name) is not None, name
        table.find("openai", name)
    assert all(source["what"] and isinstance(source["seen"], date) for source in table.sources.values())


UNKNOWN = {
    "computer-use-preview",
    "computer-use-preview-2025-03-11",
    "gpt-daybreak-blue-latest",
    "gpt-daybreak-red-latest",
    "gpt-rosalind-research",
}
"""Names of the SDKs that have no row on purpose: nothing is known of what they refuse, so they may do everything."""


def sdk_names() -> set[str]:
    openais = {name for each in get_args(AllModels) for name in _literals(each)}
    return openais | {name for each in get_args(ModelParam) for name in _literals(each)}


def _literals(value: object) -> set[str]:
    inner = get_args(value)
    return {name for name in inner if isinstance(name, str)} | {n for each in inner for n in _literals(each)}


def test_every_model_that_an_sdk_names_has_a_row() -> None:
    names = sdk_names()
    assert len(names) > 100
    assert {name for name in names if packaged().prefix(name) in (None, "claude")} == UNKNOWN


def test_the_ends_are_those_of_anthropics_sdk() -> None:
    for name, text in DEPRECATED_MODELS.items():
        day = datetime.strptime(re.sub(r"(\d)(st|nd|rd|th)", r"\1", text), "%B %d, %Y").date()
        assert packaged().ends(name) == day, name
    for name in set(_literals(ModelParam)) - set(DEPRECATED_MODELS):
        assert packaged().ends(name) is None, name


def test_the_ends_are_those_of_openais_sdk() -> None:
    told = Path(chat_model.__file__).read_text("utf-8").partition('"""Deprecated values:')[2]
    found = re.findall(r'((?:"[^"]+",?\s+)*"[^"]+"):\s+Announced\s+shutdown\s+date:\s+(\d{4}-\d\d-\d\d)', told)
    assert len(found) > 10
    for names, day in found:
        for name in re.findall(r'"([^"]+)"', names):
            assert packaged().ends(name) == date.fromisoformat(day), name


@pytest.mark.parametrize(
    ("model", "members"),
    [
        ("gpt-5.4-mini", {"efforts": ["none", "low", "medium", "high", "xhigh"], "effort_with_tools": False}),
        ("gpt-5.6-sol", {"none_with_tools": True, "effort_with_tools": False}),
        ("gpt-5.3-chat-latest", {"reasoning": False}),
        ("gpt-5-chat-latest", {"reasoning": False}),
        ("gpt-4-turbo", {"reasoning": False}),
        ("gpt-3.5-turbo", {"reasoning": False}),
        ("chatgpt-4o-latest", {"reasoning": False}),
        ("gemini-2.5-pro", {"efforts": ["low", "medium", "high"]}),
        ("openai/gpt-oss-120b", {"efforts": ["low", "medium", "high"]}),
        ("claude-3-haiku-20240307", {"max_output": 4096, "thinking": "none", "mid_system": False}),
        ("claude-opus-4-1-20250805", {"thinking": "budget", "mid_system": False, "sampling": True}),
        ("claude-haiku-5", {"max_output": None, "thinking": "adaptive"}),
        ("claude-mythos-preview", {"max_output": None, "mid_system": False}),
        ("deepseek-v4-pro", {"image": False, "file": False}),
        ("deepseek-ai/deepseek-vl2", {"image": True, "file": False}),
    ],
)
def test_what_is_known(model: str, members: dict[str, object]) -> None:
    row = packaged().find("openai", model)
    assert {name: getattr(row, name) for name in members} == members
