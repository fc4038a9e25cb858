"""Which of two of Envoy's matches takes all that the other takes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc.check.matching import implies, takes_path
from extproc.check.tree import Node, parse


def node(values: dict[str, Any]) -> Node:
    return parse(yaml.safe_dump({"name": "x", **values}))


def text(**asked: Any) -> dict[str, Any]:
    return {"string_match": asked}


def pattern(regex: str) -> dict[str, Any]:
    return text(safe_regex={"regex": regex})


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (text(exact="gpt-5"), text(exact="gpt-5")),
        (text(exact="gpt-5"), text(prefix="gpt")),
        (text(prefix="gpt-5"), text(prefix="gpt")),
        (text(exact="gpt-5-mini"), text(suffix="-mini")),
        (text(prefix="my-gpt"), text(contains="gpt")),
        (text(exact="gpt-5"), pattern("(gpt|o[0-9]).*")),
        (text(exact="gpt-5"), pattern("^gpt-5$")),
        (text(prefix="gpt-5"), pattern("gpt.*")),
        (pattern("gpt-5.*"), text(prefix="gpt")),
        (pattern("a|b"), pattern("a|b")),
        (text(exact="gpt"), text(exact="GPT", ignore_case=True)),
        (text(exact="a"), {"exact_match": "a"}),
        ({"exact_match": "ab"}, {"prefix_match": "a"}),
        ({"prefix_match": "ab"}, {"safe_regex_match": {"regex": "a.*"}}),
        (text(exact="a"), {"present_match": True}),
        (text(exact="a"), {}),
        (text(exact="a"), {**text(exact="b"), "invert_match": True}),
    ],
)
def test_what_fits_one_fits_the_other(given: dict[str, Any], asked: dict[str, Any]) -> None:
    assert implies(node(given), node(asked))


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (text(prefix="gpt"), text(exact="gpt-5")),
        (text(prefix="gpt"), text(prefix="gpt-5")),
        (text(exact="gpt-5"), pattern("(gpt|o[0-9])")),
        (text(exact="gpt"), text(exact="GPT")),
        (text(exact="gpt", ignore_case=True), text(exact="gpt")),
        (text(exact="a"), {**text(exact="a"), "invert_match": True}),
        (text(exact="a"), {"present_match": True, "invert_match": True}),
        ({**text(exact="a"), "invert_match": True}, text(exact="a")),
        (text(exact="5"), {"range_match": {"start": 1, "end": 3}}),
        ({"name": "y", **text(exact="a")}, text(exact="a")),
        # Patterns that may take their time, or are none, are not tried.
        (text(exact="a" * 40), pattern("(a+)+b")),
        (text(exact="a"), pattern("(")),
    ],
)
def test_what_fits_one_may_not_fit_the_other(given: dict[str, Any], asked: dict[str, Any]) -> None:
    assert not implies(node(given), node(asked))


def path(regex: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": regex}}


@pytest.mark.parametrize(
    ("earlier", "later", "all_of_it"),
    [
        ({"prefix": "/"}, {"path": "/v1"}, True),
        ({"prefix": ""}, {"connect_matcher": {}}, True),
        (path("/.*"), {"prefix": "/v1"}, True),
        (path("/.+"), {"prefix": "/v1"}, True),
        (path("/.+"), {"prefix": "/"}, False),
        (path("/v1/.*"), {"path": "/v1/messages"}, True),
        (path("/v1/[a-z]+"), {"path": "/v1/messages"}, True),
        (path("/v1/[a-z]+"), {"prefix": "/v1/messages"}, False),
        ({"prefix": "/V1", "case_sensitive": False}, {"prefix": "/v1/messages"}, True),
        ({"prefix": "/v1"}, {"prefix": "/v1", "case_sensitive": False}, False),
        ({"path_separated_prefix": "/v1"}, {"path": "/v1"}, True),
        ({"path_separated_prefix": "/v1"}, {"path": "/v1/messages"}, True),
        ({"path_separated_prefix": "/v1"}, {"path": "/v1beta"}, False),
        ({"path_separated_prefix": "/v1"}, {"prefix": "/v1"}, False),
        ({"prefix": "/v1/"}, {"path_separated_prefix": "/v1"}, False),
        ({"path": "/v1"}, {"prefix": "/v1"}, False),
        ({"connect_matcher": {}}, {"prefix": "/"}, False),
    ],
)
def test_paths(earlier: dict[str, Any], later: dict[str, Any], all_of_it: bool) -> None:
    assert takes_path(node(earlier), node(later)) is all_of_it
