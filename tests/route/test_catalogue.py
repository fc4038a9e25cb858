from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.route.catalogue import MAX_NAMED, read_catalogue
from extproc.route.text import RouteError

TEXT = """
gpt-5: {owned_by: openai, created: 2025-08-07}
best: {model: gpt-5, name: The best}
org/lora-a:
"claude/*": {model: "claude-*", owned_by: anthropic}
"claude/opus*": {model: big}
"*-latest": {model: "*"}
"""


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("gpt-5", "gpt-5"),
        ("best", "gpt-5"),
        ("org/lora-a", "org/lora-a"),
        ("claude/sonnet-4-5", "claude-sonnet-4-5"),
        ("claude/opus-4", "big"),
        ("claude/", "claude-"),
        ("-latest", None),
        ("gpt-4-latest", "gpt-4"),
        ("gpt-4", None),
        ("", None),
        ("BEST", None),
    ],
)
@pytest.mark.rows("F14")
def test_a_name_is_sent_as(name: str, sent: str | None) -> None:
    assert read_catalogue(TEXT).sent_as(name) == sent


def test_what_clients_are_told() -> None:
    catalogue = read_catalogue(TEXT)
    assert [model.id for model in catalogue.listed] == ["gpt-5", "best", "org/lora-a"]
    gpt, best, lora = catalogue.listed
    assert (gpt.name, gpt.owner, gpt.created) == ("gpt-5", "openai", 1754524800)
    assert (best.name, best.owner) == ("The best", "gateway")
    assert catalogue.find("best") is best and lora.created == 0
    found = catalogue.find("claude/sonnet-4-5")
    assert found is not None and (found.id, found.owner) == ("claude/sonnet-4-5", "anthropic")
    assert catalogue.find("gpt-4") is None


def test_any_other_name_may_have_a_route_and_none_is_promised() -> None:
    catalogue = read_catalogue('{gpt-5: {}, "*": {}}')
    assert catalogue.sent_as("whatever") == "whatever"
    assert catalogue.find("whatever") is None
    assert catalogue.unknown("whatever").endswith("; there are gpt-5")


def test_an_error_names_the_models_within_a_bound() -> None:
    catalogue = read_catalogue("{" + ", ".join(f"m{i}: {{}}" for i in range(MAX_NAMED + 5)) + "}")
    said = catalogue.unknown("x" * 999)
    assert said.startswith("the model `" + "x" * 128 + "` does not exist") and said.endswith(" and 5 more")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "virtual host: models: not YAML"),
        ("a", "virtual host: models: expected a mapping"),
        ("{}", "virtual host: models: expected a mapping such as"),
        ("{a: 3}", "models: a: expected a mapping with model, name, owned_by, created"),
        ("{a: {colour: blue}}", "models: a: unknown key 'colour'"),
        ("{a: {model: 3}}", "models: a.model: expected text"),
        ("{a: {model: 'b*'}}", "models: a.model: a `*`"),
        ("{'a*b*': {}}", "models: a*b*: expected a model's name"),
        ("{a: {created: yesterday}}", "models: a.created: expected Unix seconds or a day"),
        ("{a: {created: true}}", "models: a.created: expected Unix seconds or a day"),
        ("{a: {created: -1}}", "models: a.created: expected Unix seconds or a day"),
        ("{a: {}, a: {}}", "models: 'a' is given twice"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    for _ in range(2):  # the second time out of the cache
        with pytest.raises(RouteError, match=r"^virtual host: models") as caught:
            read_catalogue(text)
        assert said in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_catalogue_or_an_error(text: str) -> None:
    try:
        catalogue = read_catalogue(text)
    except RouteError:
        return
    for model in catalogue.listed:
        assert catalogue.sent_as(model.id) and catalogue.find(model.id) is model
