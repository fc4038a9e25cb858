from __future__ import annotations

import pytest

from extproc.route import RouteError
from extproc.route.cache import TextCache, by_text


def test_what_was_used_least_leaves_first() -> None:
    cache = TextCache[str](2)
    for key in ("a", "b"):
        cache.put((key,), key)
    assert cache.get(("a",)) == "a"
    cache.put(("c",), "c")
    assert [key for key, _ in cache.items()] == [("a",), ("c",)] and len(cache) == 2
    cache.put(None, "d")
    assert len(cache) == 2


def test_long_texts_make_room_for_each_other_and_one_that_is_longer_than_all_is_not_kept() -> None:
    cache = TextCache[int](100, max_bytes=1000)
    for number in range(20):
        cache.put((str(number) * (300 // len(str(number))), b"x" * 100, None, number), number)
    assert [found for _, found in cache.items()] == [18, 19]
    # What is there already counts once.
    key = cache.items()[1][0]
    for _ in range(10):
        cache.put(key, 19)
    assert len(cache) == 2
    cache.put(("x" * 1001,), 1)
    assert len(cache) == 0
    cache.put(("x" * 900,), 1)
    assert len(cache) == 1
    cache.clear()
    cache.put(("x" * 900,), 1)
    assert len(cache) == 1


def test_a_function_is_asked_once_for_each_text_and_again_for_what_it_raised() -> None:
    asked: list[tuple[str, ...]] = []

    @by_text(10)
    def made(*texts: str) -> str | None:
        asked.append(texts)
        if texts[0] == "bad":
            raise RouteError("no")
        return None

    assert made("a", "b") is made("a", "b") is None
    assert asked == [("a", "b")]
    for _ in range(2):
        with pytest.raises(RouteError):
            made("bad")
    assert len(asked) == 3
