from __future__ import annotations

import gc

import msgspec
import pytest

from extproc.frozen import Frozen, Plain
from extproc.llm.events import TextDelta
from extproc.providers import Endpoint


class Point(Frozen):
    x: int = 0
    tags: list[str] = []


def test_a_value_never_changes_once_it_is_made() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    assert msgspec.structs.replace(point, x=2) == Point(2) and point.x == 1


def test_equal_values_are_one_key() -> None:
    assert hash(Endpoint("/a")) == hash(Endpoint("/a")) and Endpoint("/a") == Endpoint("/a") != Endpoint("/b")


def test_no_two_share_a_mutable_default() -> None:
    assert Point().tags is not Point().tags


@pytest.mark.parametrize("kind", Frozen.__subclasses__(), ids=lambda kind: str(kind.__qualname__))
def test_what_is_made_of_it_is_frozen_too(kind: type[Frozen]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", Plain.__subclasses__(), ids=lambda kind: str(kind.__qualname__))
def test_what_is_plain_is_not_looked_through_for_cycles(kind: type[Plain]) -> None:
    assert kind.__struct_config__.frozen and not kind.__struct_config__.gc


def test_a_plain_value_holds_nothing_up() -> None:
    assert not gc.is_tracked(TextDelta(0, "x"))
