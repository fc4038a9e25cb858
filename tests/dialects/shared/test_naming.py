from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.naming import ToolIds, hash8, made_tool_id, sha256, tool_name, unused_id

LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")


@pytest.mark.parametrize("name", ["f", "get_weather", "a-b_c", "x" * 64])
def test_a_legal_name_stays(name: str) -> None:
    assert tool_name(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "x" * 65, "é", "a b", "f\n"])
def test_other_names_become_legal(name: str) -> None:
    assert LEGAL_NAME.match(tool_name(name))
    assert tool_name(name).endswith(hash8(name))


def test_names_that_differ_late_stay_apart() -> None:
    assert tool_name("x" * 70 + "a") != tool_name("x" * 70 + "b")
    assert tool_name("a.b") != tool_name("a/b")


@given(st.text())
def test_any_name_becomes_legal_and_always_the_same(name: str) -> None:
    assert LEGAL_NAME.match(tool_name(name))
    assert tool_name(name) == tool_name(name)
    assert tool_name(tool_name(name)) == tool_name(name)


def test_an_id_is_fitted_and_remembered() -> None:
    ids = ToolIds(ILLEGAL)
    assert ids("functions.f:0") == "functions_f_0"
    assert ids("functions.f:0") == "functions_f_0"
    assert ids("call_1") == "call_1"


def test_of_two_ids_that_become_the_same_the_later_is_changed() -> None:
    ids = ToolIds(ILLEGAL)
    assert ids("a.1") == "a_1"
    assert ids("a:1") == f"a_1_{hash8('a:1')}"
    assert ids("a_1") == f"a_1_{hash8('a_1')}"
    assert ids("a.1") == "a_1"


def test_long_ids_are_cut_with_their_hash() -> None:
    long = "call_" + "x" * 60
    fitted = ToolIds(max_length=40)(long)
    assert fitted == f"{long[:31]}_{hash8(long)}"
    assert len(fitted) == 40


@given(st.lists(st.text(max_size=20), unique=True, max_size=20), st.sampled_from([None, 12, 40]))
def test_different_ids_stay_different_and_legal(ids: list[str], longest: int | None) -> None:
    fit = ToolIds(ILLEGAL, longest)
    fitted = [fit(id_) for id_ in ids]
    assert len(set(fitted)) == len(ids)
    assert [fit(id_) for id_ in ids] == fitted
    for id_ in fitted:
        assert not ILLEGAL.search(id_)
        assert longest is None or len(id_) <= longest


def test_made_ids_depend_on_response_and_position() -> None:
    assert re.fullmatch(r"toolu_[0-9a-f]{24}", made_tool_id("msg_1", 0, "toolu_"))
    assert len({made_tool_id(r, p, "call_") for r in ("a", "b") for p in (0, 1)}) == 4
    assert made_tool_id("a", 0, "call_") == made_tool_id("a", 0, "call_")


def test_lone_surrogates_do_not_break_hashes() -> None:
    assert len(sha256("\ud800")) == 64
    assert len(hash8("\ud800")) == 8


def test_an_id_that_is_used_gets_a_hash_behind_it_each_time_another() -> None:
    used = {"call_0"}
    made = [unused_id("call_0", used), unused_id("call_0", used), unused_id("call_1", used)]
    assert made == [f"call_0_{hash8('call_0:1')}", f"call_0_{hash8('call_0:2')}", "call_1"]
    assert used == {"call_0", *made}
