from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.counts import count, exact, settled, whole
from extproc.dialects.shared.counts import read_openais as read_usage
from extproc.llm.events import Usage


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (0, 0), (3.0, 3), (0.0, 0), (3.5, None), (-1, None), (-1.0, None), (True, None), ("3", 3), (None, None),
     (1e300, None), (float("inf"), None), (float("nan"), None), (1 << 70, None)],
)  # fmt: skip
def test_a_count_is_a_whole_number(value: Any, number: int | None) -> None:
    found = whole(value)
    assert found == number and type(found) is type(number)


@pytest.mark.parametrize(
    ("number", "tokens"), [(3, 3), (0, 0), (-1, None), (True, None), (1.0, None), ("3", None), (10**400, None)]
)
def test_a_count_as_it_stands(number: Any, tokens: int | None) -> None:
    assert exact(number) == tokens


def test_of_several_names_the_one_that_says_something() -> None:
    assert count({"a": 0, "b": 7}, "a", "b") == 7
    assert count({"a": 0, "b": None}, "a", "b") == 0
    assert count({"b": "x"}, "a", "b") is None
    assert count([1], "a") is None


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ((100, 9, 60, 60, 20), Usage(100, 9, 60, 40, 9)),  # OpenRouter counts what was read as written too
        ((100, 9, 180, 5, None), Usage(100, 9, 100, 0, None)),
        ((None, None, 60, 60, 20), Usage(None, None, 60, 60, 20)),
        ((100, 9, None, 20, 3), Usage(100, 9, None, 20, 3)),
    ],
)
def test_parts_are_no_more_than_the_whole(counts: tuple[Any, ...], usage: Usage) -> None:
    assert settled(*counts) == usage


@pytest.mark.parametrize("name", ["cache_creation_tokens", "created_cache_tokens", "cache_creation_input_tokens",
                                  "cache_write_tokens"])  # fmt: skip
@pytest.mark.parametrize("nested", [True, False])
def test_names_of_what_was_written_to_a_cache(name: str, nested: bool) -> None:
    cache = {"cached_tokens": 60.0, name: 20}
    usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 5}
    assert read_usage(usage | ({"prompt_tokens_details": cache} if nested else cache)) == Usage(100, 5, 60, 20)


def test_a_count_that_is_told_twice_counts_once() -> None:
    details = {"cached_tokens": 60, "cache_creation_tokens": 20}
    beside = {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 20, "prompt_cache_hit_tokens": 60}
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details, **beside}
    assert read_usage(usage) == Usage(100, 5, 60, 20)
