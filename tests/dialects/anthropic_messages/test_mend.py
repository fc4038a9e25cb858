from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.shared.naming import hash8
from extproc.llm import marker
from extproc.llm.losses import LossReport

from .helpers import DIALECT

OURS = {"type": "thinking", "thinking": "why", "signature": marker.mark("why")}
SIGNED = {"type": "thinking", "thinking": "why", "signature": "EqQB"}
HI = {"role": "user", "content": "hi"}


def mend(body: Any) -> tuple[bytes, bytes, list[str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    losses = LossReport()
    return data, DIALECT.mend(data, losses), [str(loss) for loss in losses]


def call(id_: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {}}


def result(id_: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": "x"}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [HI]},
        {"messages": [HI, {"role": "assistant", "content": [SIGNED, call("toolu_1")]},
                      {"role": "user", "content": [result("toolu_1")]}]},
        {"messages": [{"role": "user", "content": "what is gw1.abc?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": json.dumps(result("a.b")) + "gw1."}]}]},
        {"messages": "gw1."},
        {"model": "gw1."},
        b'{"gw1.',
        b"gw1.",
        b'["gw1."]',
        b'{"messages": [{"role": "assistant", "content": [{"type": "thinking", "signature": "gw1.x"}]}',
        b'{"messages": ["gw1."]}',
        b"",
    ],
    ids=str,
)  # fmt: skip
def test_nothing_to_mend_is_the_same_object(body: Any) -> None:
    data, mended, losses = mend(body)
    assert mended is data
    assert losses == []


def test_our_own_thinking_goes_and_the_rest_keeps_its_bytes() -> None:
    first = b'{"role": "user",  "content": "h\\u0069", "x": 1.0}'
    thinking = json.dumps(OURS).encode()
    data = b'{"model":"m", "messages": [%s, {"role":"assistant","content":[%s,{"type":"text", "text":"a"}]}], "y":1.50}'
    _, mended, losses = mend(data % (first, thinking))
    assert first in mended
    assert b'{"type":"text", "text":"a"}' in mended
    assert b'"y":1.50' in mended
    assert json.loads(mended)["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    assert losses == ["messages[1].content[0]:dropped"]


def test_a_turn_of_nothing_else_goes_whole() -> None:
    _, mended, losses = mend({"messages": [HI, {"role": "assistant", "content": [OURS]}, HI]})
    assert json.loads(mended) == {"messages": [HI, HI]}
    assert losses == ["messages[1].content[0]:dropped"]


def test_signed_thinking_stays() -> None:
    _, mended, _ = mend({"messages": [{"role": "assistant", "content": [OURS, SIGNED]}]})
    assert json.loads(mended)["messages"][0]["content"] == [SIGNED]


def test_ids_are_fitted_on_both_sides_and_stay_apart() -> None:
    _, mended, losses = mend(
        {
            "messages": [
                HI,
                {"role": "assistant", "content": [call("functions.f:0"), call("functions_f_0")]},
                {"role": "user", "content": [result("functions_f_0"), result("functions.f:0")]},
            ]
        }
    )
    other = f"functions_f_0_{hash8('functions_f_0')}"
    _, assistant, user = json.loads(mended)["messages"]
    assert [block["id"] for block in assistant["content"]] == ["functions_f_0", other]
    assert [block["tool_use_id"] for block in user["content"]] == [other, "functions_f_0"]
    assert set(losses) == {
        "messages[1].content[0].id:rewritten", "messages[1].content[1].id:rewritten",
        "messages[2].content[0].tool_use_id:rewritten", "messages[2].content[1].tool_use_id:rewritten",
    }  # fmt: skip


def test_mending_twice_changes_nothing_more() -> None:
    body = {
        "messages": [
            {"role": "assistant", "content": [OURS, call("a:1")]},
            {"role": "user", "content": [result("a:1")]},
        ]
    }
    _, mended, _ = mend(body)
    again, unchanged, losses = mend(mended)
    assert unchanged is again
    assert losses == []


JUNK = st.recursive(
    st.one_of(st.none(), st.integers(), st.sampled_from(["gw1.x", "a.b", "thinking", "tool_use", "tool_result"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["messages", "content", "type", "signature", "id", "tool_use_id", "role"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["role", "content"]), JUNK), max_size=3), st.binary(max_size=3))
def test_it_never_raises(messages: Any, tail: bytes) -> None:
    mend(json.dumps({"messages": messages, "x": "gw1."}).encode() + tail)


@given(st.binary(max_size=40))
def test_it_never_raises_on_bytes(data: bytes) -> None:
    for prefix in (b"", b'{"messages":', b'"tool_use_id":"a.b"', b'{"messages":[{"content":[{"tool_use_id":"a.b'):
        mend(prefix + data)
        mend(prefix + b"gw1." + data)
