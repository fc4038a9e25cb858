from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy import configured
from extproc.policy.base import PolicyError
from extproc.policy.given import Given

from .members import given

READS: list[tuple[Callable[[Given], Any], Any, str]] = [
    (lambda g: g.text("a"), "x", "expected text"),
    (lambda g: g.url("a"), "https://s/x", "expected (a URL|text)"),
    (lambda g: g.choice("a", ("one", "two")), "two", "choose one of: one, two"),
    (lambda g: g.flag("a"), True, "expected true or false"),
    (lambda g: g.count_if_any("a"), 3, "expected a whole number"),
    (lambda g: g.seconds("a", 1.0), 2.5, "expected a number of seconds"),
    (lambda g: g.texts("a"), ["x"], "expected a list of texts"),
    (lambda g: g.pairs("a"), {"x": "y"}, "expected a mapping of text to text"),
    (lambda g: g.numbers("a"), {"x": 1.5}, "expected a mapping of text to a number"),
    (lambda g: g.mapping("a"), {"x": [1]}, "expected a mapping"),
]


@pytest.mark.parametrize(("read", "value", "problem"), READS, ids=[each[2] for each in READS])
def test_each_kind(read: Callable[[Given], Any], value: Any, problem: str) -> None:
    assert read(given({"a": value})) == value
    with pytest.raises(PolicyError, match=problem) as caught:
        read(given({"a": object()}))
    assert caught.value.path == "policies[0].x.a"


@pytest.mark.parametrize(
    ("read", "default"),
    [
        (lambda g: g.text("a", "d"), "d"),
        (lambda g: g.choice("a", ("one", "two")), "one"),
        (lambda g: g.flag("a"), False),
        (lambda g: g.count_if_any("a"), None),
        (lambda g: g.count("a", 7), 7),
        (lambda g: g.seconds("a", 1.5), 1.5),
        (lambda g: g.texts("a"), None),
        (lambda g: g.pairs("a"), {}),
        (lambda g: g.parts("a"), []),
        (lambda g: g.secret_if_any("a"), None),
        (lambda g: g.has("a"), False),
    ],
)
@pytest.mark.parametrize("members", [{}, {"a": None}])
def test_what_is_not_there(read: Callable[[Given], Any], default: Any, members: dict[str, Any]) -> None:
    reader = given(members)
    assert read(reader) == default
    reader.finish()


@pytest.mark.parametrize("read", [lambda g: g.text("a"), lambda g: g.mapping("a"), lambda g: g.part("a")])
def test_what_must_be_there(read: Callable[[Given], Any]) -> None:
    with pytest.raises(PolicyError, match="is needed"):
        read(given({}))


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda g: g.count_if_any("a"), 0),
        (lambda g: g.count_if_any("a", least=5), 4),
        (lambda g: g.count_if_any("a"), True),
        (lambda g: g.seconds("a", 1.0), 0),
        (lambda g: g.seconds("a", 1.0), 3600),
        (lambda g: g.url("a"), "ftp://s"),
        (lambda g: g.url("a"), "http://s/a b"),
        (lambda g: g.numbers("a"), {"x": True}),
        (lambda g: g.texts("a"), [1]),
    ],
)
def test_values_out_of_bounds(read: Callable[[Given], Any], value: Any) -> None:
    with pytest.raises(PolicyError):
        read(given({"a": value}))


def test_what_nobody_has_read_is_unknown() -> None:
    reader = given({"a": 1, "b": 2})
    reader.count_if_any("b")
    with pytest.raises(PolicyError, match=r"unknown key; choose one of: b$") as caught:
        reader.finish()
    assert caught.value.path == "policies[0].x.a"


def test_parts_say_their_own_path() -> None:
    (first, second) = given({"rules": [{"a": "x"}, {}]}).parts("rules")
    assert first.text("a") == "x"
    with pytest.raises(PolicyError) as caught:
        second.text("a")
    assert caught.value.path == "policies[0].x.rules[1].a"
    with pytest.raises(PolicyError) as caught:
        given({"part": {"b": 1}}).part("part").finish()
    assert caught.value.path == "policies[0].x.part.b"


def test_secrets_and_who_is_asked_are_the_operators() -> None:
    told: list[Any] = []

    class Operator:
        def secret(self, path: str, text: str) -> Any:
            told.append((path, text))

        def served(self, path: str, members: Any, *, embeds: bool = False) -> Any:
            told.append((path, members))

    reader = Given({"key": "${KEY}", "provider": "openai", "options": {"model": "m"}}, "p", Operator())
    reader.secret("key")
    reader.served()
    reader.finish()
    assert told == [("p.key", "${KEY}"), ("p", {"provider": "openai", "options": {"model": "m"}})]
    for members, problem in (
        ({"options": {"model": "m"}}, "p.provider"),
        ({"provider": "openai"}, "p.options.model"),
        ({"provider": "openai", "options": {"model": "m", "stream": True}}, "p.options.stream"),
    ):
        with pytest.raises(PolicyError) as caught:
            Given(members, "p", Operator()).served()
        assert caught.value.path == problem


class Anybody:
    """An operator who has every secret, and whom one can have asked."""

    def secret(self, path: str, text: str) -> Any:
        return None

    def served(self, path: str, members: Any, *, embeds: bool = False) -> Any:
        return None


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("moderation", {"endpoint": "http://guard.test"}),
        ("moderation", {"provider": "openai", "api_key": "x"}),
        ("moderation", {"provider": "bedrock_guardrail", "guardrail": "x"}),
        ("rag", {"search": {"endpoint": "http://find.test"}}),
        ("request_rewrite", {"prompt": "p", "provider": "openai", "options": {"model": "m"}}),
    ],
)
def test_who_asks_a_service_is_known_by_that(name: str, members: dict[str, Any]) -> None:
    """What waits for it must have the time: `extproc check` tells where Envoy gives none."""
    (made,) = configured([{name: members}], Anybody())
    assert made.asks


@pytest.mark.parametrize("entry", [{"redact": {}}, {"tool_filter": {}}, {"prompt_guard": {"deny_patterns": ["x"]}}])
def test_the_others_ask_nobody(entry: dict[str, Any]) -> None:
    (made,) = configured([entry], Anybody())
    assert not made.asks
