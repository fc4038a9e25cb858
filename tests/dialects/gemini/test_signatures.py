from __future__ import annotations

import base64
from typing import Any

import pytest

from extproc.dialects.gemini.signatures import carry, is_ours, read_carrier, read_seal, seal
from extproc.dialects.gemini.words import SIGNER
from extproc.llm import marker
from extproc.llm.request import Thinking

from .helpers import blocks


def test_a_carrier_and_the_thought_that_it_repeats_are_one() -> None:
    seal = base64.urlsafe_b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode().rstrip("=")
    carried = base64.b64encode(b'gw1.c.[["why","SIG",null,"anthropic-claude-v1"]]').decode()
    call = {"functionCall": {"id": "c", "name": "f"}, "thoughtSignature": carried}
    for shown in ([], [{"text": "why", "thought": True, "thoughtSignature": seal}]):
        thinking, made = blocks(*shown, call, role="model")
        assert (thinking.text, thinking.signature, thinking.signer) == ("why", "SIG", "anthropic-claude-v1")
        assert made.signature is None


THOUGHT = Thinking("why", "SIG", None, "anthropic-claude-v1")


@pytest.mark.parametrize("alphabet", [str, lambda text: text.translate(str.maketrans("+/", "-_")).rstrip("=")])
@pytest.mark.parametrize("text", ["why", "", 'é "q" \U0001f600'])
def test_what_is_carried_comes_back(text: str, alphabet: Any) -> None:
    thoughts = [Thinking(text, "S?>~", None, "a"), Thinking(text, None, "E", "b")]
    carried = carry(thoughts, None)
    assert carried is not None and is_ours(carried)
    assert [(t.text, t.signature, t.encrypted, t.signer) for t in read_carrier(alphabet(carried), "x")] == [
        (text, "S?>~", None, "a"),
        (text, None, "E", "b"),
    ]


def test_the_providers_own_signature_wins() -> None:
    assert carry([THOUGHT], "own") == "own"
    assert carry([], None) is None
    assert seal("t", "own", None, SIGNER) == "own"


def test_a_seal_of_anothers_comes_back_and_what_nobody_signed_has_none() -> None:
    made = seal("t", "SIG", None, "anthropic-claude-v1")
    assert made is not None and is_ours(made)
    read = read_seal(made)
    assert read is not None and (read.signer, read.signature, read.encrypted) == ("anthropic-claude-v1", "SIG", None)
    assert seal("t", None, None, "anthropic-claude-v1") is None
    assert seal("t", "x", None, marker.SIGNER) is None


@pytest.mark.parametrize("signature", ["", "SIG", "Z3cx", "Z3cx!", base64.b64encode(b"gw1.c.{").decode(), "Z3cxLmMu"])
def test_what_is_no_carrier_carries_nothing(signature: str) -> None:
    assert read_carrier(signature, "x") == []


def test_a_carrier_of_odd_members_carries_what_can_be_read() -> None:
    wire = base64.b64encode(b'gw1.c.[1,["a"],["t",3,"",4],["t",3,"","s"]]').decode()
    assert read_carrier(wire, "x") == [Thinking("t", None, None, "s", at="x")]
