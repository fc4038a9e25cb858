from __future__ import annotations

from pathlib import Path

import pytest

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
    assert (free.max_output, free.efforts, free.sampling, free.token_field) == (None, None, True, "max_tokens")


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
        ("models: {m: {colour: 1}}", "models.m: .*colour.*known members"),
        ("model: {}", "unknown section 'model'; expected default, models, providers"),
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


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(CapabilityError, match="No such file"):
        load("/nonexistent/file.yaml")


def test_lookups_are_bounded() -> None:
    table = CapabilityTable({"models": {"m": {"max_output": 1}}})
    for n in range(3000):
        table.find("openai", f"m-{n}")
    assert table._lookup.cache_info().currsize <= 1024
