from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.anthropic_messages.marks import MAX_MARKS, settle_marks
from extproc.llm.losses import LossReport

TIMES = st.sampled_from([None, "5m", "1h", "30m"])


def marked(ttl: str | None) -> dict[str, Any]:
    return {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}}


BLOCK = st.one_of(
    st.just({"type": "text", "text": "x"}), TIMES.map(lambda ttl: {"type": "text", "text": "x"} | marked(ttl))
)
BLOCKS = st.lists(BLOCK, max_size=5)
REQUEST = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": BLOCKS | st.just("x")}), max_size=4
        )
    },
    optional={
        "tools": BLOCKS,
        "system": BLOCKS | st.just("x"),
        "cache_control": TIMES.map(lambda ttl: marked(ttl)["cache_control"]),
    },
)


def places(members: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [members.get("tools"), members.get("system"), *(message["content"] for message in members["messages"])]
    return [block for blocks in lists if isinstance(blocks, list) for block in blocks]


def times(members: dict[str, Any]) -> list[str]:
    marks = [block["cache_control"] for block in places(members) if "cache_control" in block]
    marks += [members["cache_control"]] if "cache_control" in members else []
    return [mark.get("ttl", "5m") for mark in marks]


@given(REQUEST)
def test_what_is_left_is_what_the_api_takes(members: dict[str, Any]) -> None:
    before = times(members)
    first, losses = copy.deepcopy(members), LossReport()
    settle_marks(members, losses, "cache_control")
    after = times(members)
    assert len(after) == min(len(before), MAX_MARKS)
    assert set(after) <= {"5m", "1h"} and after == sorted(after), "no longer one behind a shorter one"
    assert all(loss.cost_only for loss in losses)
    assert bool(list(losses)) == (before != after)
    bare = [{k: v for k, v in block.items() if k != "cache_control"} for block in places(members)]
    assert bare == [{k: v for k, v in block.items() if k != "cache_control"} for block in places(first)]


def test_the_tools_the_system_and_the_last_ones_stay() -> None:
    block: dict[str, Any] = {"type": "text", "text": "x"} | marked(None)
    messages = [{"role": "user", "content": [dict(block)]} for _ in range(4)]
    members: dict[str, Any] = {"tools": [dict(block)] * 2, "system": [dict(block)], "messages": messages}
    settle_marks(members, LossReport(), "cache_control")
    assert ["cache_control" in each for each in places(members)] == [False, True, True, False, False, True, True]


def test_a_block_of_the_clients_own_stays_as_it_was() -> None:
    own: dict[str, Any] = {"type": "text", "text": "x"} | marked("30m")
    members: dict[str, Any] = {"messages": [{"role": "user", "content": [own]}]}
    settle_marks(members, LossReport(), "cache_control")
    assert own["cache_control"]["ttl"] == "30m" and times(members) == ["5m"]
