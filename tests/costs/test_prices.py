"""What a model's tokens cost, from data."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from extproc import capabilities
from extproc.costs.prices import FREE, Price, PriceError, PriceTable, load, own, packaged, told
from extproc.costs.weights import Weights
from extproc.llm.events import Usage

TABLE = PriceTable(
    {
        "models": {
            "gpt-5": {"input": 1, "output": 10},
            "GPT-5.4": {"input": 2, "output": 20, "above": {100: {"input": 4}}},
            "house-*": {"input": 3},
            "house-large-*": {"input": 5},
            "claude-haiku-4-5": {"input": 1, "cached": 0.1, "output": 5, "at": {"bedrock": {"input": 1.1}}},
        }
    }
)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("gpt-5", "gpt-5"),
        ("openai/gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.4", "gpt-5-4"),
        ("gpt-5-4-2026-03-05", "gpt-5-4"),
        ("gpt-5-mini", None),
        ("gpt-5.4-mini", None),
        ("gpt-5.5", None),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("House-small", "house-*"),
        ("house-large-2", "house-large-*"),
        ("", None),
    ],
)
def test_a_row_is_found_by_the_models_own_name_and_is_no_guess(model: str, row: str | None) -> None:
    assert TABLE.row(model) == row


def test_the_first_that_has_a_price() -> None:
    assert TABLE.find("openai", "", "nobody", "gpt-5") == Price(Weights(1.0, 10.0))
    assert TABLE.find("openai", "nobody") is None
    assert TABLE.find("openrouter", "qwen/qwen3:free") is FREE and FREE.usd(Usage(5, 5)) == 0.0


def test_a_provider_may_have_its_own() -> None:
    here, there = (TABLE.find(name, "claude-haiku-4-5") for name in ("anthropic", "bedrock"))
    assert here is not None and there is not None
    assert (here.base.input, there.base.input, there.base.output) == (1.0, 1.1, 5.0)


def test_dollars() -> None:
    price = TABLE.find("openai", "gpt-5.4")
    assert price is not None
    assert price.usd(Usage(100, 1)) == 0.00022, "up to the bound"
    assert price.usd(Usage(101, 1)) == 0.000424, "above it all of the request is dearer, and the output as it was"
    assert price.usd(Usage()) is None
    assert told(price) == "input=2 output=20; above 100: input=4 output=20"


def test_the_operators_file_goes_over_the_table_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("models:\n  gpt-5.4-mini: {input: 7, seen: 2026-11-01}\n  mine: {output: 1}\n")
    table = load(file)
    mini, haiku = table.find("openai", "gpt-5.4-mini"), table.find("anthropic", "claude-haiku-4-5")
    assert mini == Price(Weights(7.0)) and table.seen("gpt-5-4-mini") == date(2026, 11, 1)
    assert haiku == packaged().find("anthropic", "claude-haiku-4-5") and haiku is not None
    assert table.find("openai", "mine") is not None and table.seen("mine") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: [1]", "expected a mapping with models and sources"),
        ("prices: {}", "unknown section 'prices'; expected models, sources"),
        ("models: {m: 3}", "models.m: expected a mapping with input"),
        ("models: {m: {}}", "models.m: names no price"),
        ("models: {m: {input: dear}}", "models.m: Expected `float | null`, got `str`"),
        ("models: {m: {input: -1}}", "models.m.input: expected USD for a million tokens"),
        ("models: {m: {input: .nan}}", "models.m.input: expected USD for a million tokens"),
        ("models: {m: {inputs: 1}}", "models.m: Object contains unknown field `inputs`"),
        ("models: {m: {input: 1, above: {9: {in: 1}}}}", "models.m.above.9: unknown member 'in'; choose: input"),
        ("models: {m: {input: 1, at: {bedrock: {output: -1}}}}", "models.m.at.bedrock.output: expected USD"),
        ("models: {m: {input: 1, at: {bedrock: 2}}}", "models.m: Expected `object`, got `int`"),
        ("models: {", "not YAML"),
    ],
)
def test_a_wrong_file_is_said_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(PriceError) as error:
        load(file)
    assert str(error.value).startswith(f"{file}: {problem}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="No such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "b").write_bytes(b"\xff")
    with pytest.raises(PriceError, match="not UTF-8"):
        load(tmp_path / "b")


def test_a_routes_own() -> None:
    assert own({"input": 1, "above": {5: {"input": 2}}}) == Price(Weights(1.0), ((5, Weights(2.0)),))
    with pytest.raises(PriceError, match="are for a file"):
        own({"input": 1, "source": "us"})


def test_every_row_says_where_and_when_it_is_from_and_finds_itself() -> None:
    table = packaged()
    for row in table._rows:
        assert table.seen(row) is not None and table.row(row) == row, row
        price = table.find("", row)
        assert price is not None and price.base.input, row
        for weights in (price.base, *(weights for _, weights in price.above)):
            assert (weights.cached or 0) <= (weights.input or 0) <= (weights.output or weights.input or 0), row


@pytest.mark.parametrize("maker", ["claude", "gpt-5", "gemini-2-5", "gemini-3"])
def test_models_that_live_have_a_price(maker: str) -> None:
    """Of each family that the table of capabilities knows at least one, and none that was shut down."""
    names = [name for name in packaged()._rows if name.startswith(maker)]
    assert names
    ended = [name for name in names if (ends := capabilities.packaged().ends(name)) and ends < date(2026, 11, 26)]
    assert not ended


def test_of_a_long_name_what_is_kept_is_short() -> None:
    table = load()
    assert len({table.find("openai", "gpt-5.4-mini" + "x" * size) for size in (10_000, 1_000_000)}) == 1
    assert table._lookup.cache_info().currsize == 1
