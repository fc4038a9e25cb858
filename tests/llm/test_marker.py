from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.llm.marker import Seal, fitted_id, is_mark, mark, sealed, sealed_id, unsealed, unsealed_id


def standard(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_mark_is_known_again_and_depends_on_the_text_alone() -> None:
    assert mark("why") == mark("why") != mark("who")
    assert re.fullmatch(r"gw1\.[A-Za-z0-9_-]{16,}", mark("é\ud800"))
    assert is_mark(mark(""))
    assert not is_mark("EqQBCgIYAhIM")
    assert not is_mark(None)


SEALS = [Seal("google-gemini-v1", "a+/b=="), Seal("openai-responses-v1", encrypted="g.A.b"), Seal("", "x")]


@pytest.mark.parametrize("seal", SEALS)
def test_a_seal_comes_back_to_the_character(seal: Seal) -> None:
    assert unsealed(sealed(seal)) == seal
    assert is_mark(sealed(seal))


@pytest.mark.parametrize("text", [None, "", mark("why"), "gw1.", "gw1.s.", "gw1.s.x", "gw1.s.x.", "gw1.x.a.b", "s.a.b"])
def test_other_texts_hold_no_seal(text: str | None) -> None:
    assert unsealed(text) is None


@given(st.from_regex(r"[a-zA-Z0-9_-]{0,20}", fullmatch=True), st.text(min_size=1) | st.binary(min_size=1).map(standard))
def test_a_signature_behind_an_id_comes_back_to_the_character(id_: str, signature: str) -> None:
    whole = sealed_id(id_, signature)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", whole)
    assert unsealed_id(whole) == (id_, signature)
    assert sealed_id(id_, None) == id_


@pytest.mark.parametrize("id_", ["", "call_1", "a_gw1_", "a_gw1_b", "a_gw1_x123", "a_gw1_t!", "a_gw1_t_w"])
def test_an_id_without_a_signature_stays_as_it_is(id_: str) -> None:
    assert unsealed_id(id_) == (id_, None)


@given(st.text(max_size=60) | st.from_regex(r"functions\.[a-z]+:[0-9]", fullmatch=True), st.none() | st.just("a+/b=="))
def test_an_id_of_other_characters_comes_back_to_the_character(id_: str, signature: str | None) -> None:
    whole = sealed_id(fitted_id(id_), signature)
    assert re.fullmatch(r"[a-zA-Z0-9_-]*", whole)
    assert unsealed_id(whole) == (id_, signature)


@pytest.mark.parametrize("id_", ["a_gw0_", "a_gw0_b", "a_gw0_!", "b_gw0_YQ"])
def test_what_only_looks_fitted_stays_as_it_is(id_: str) -> None:
    assert unsealed_id(id_) == (id_, None)
