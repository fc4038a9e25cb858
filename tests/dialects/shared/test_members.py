from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import dialects
from extproc.dialects.base import ClientCall
from extproc.dialects.shared.members import HOLDS, keep_rest
from extproc.llm.fields import Fields
from extproc.llm.losses import LossReport
from extproc.llm.request import Member, Message
from tests.policy.clients import CLIENTS, written

VALUE: dict[str, Any] = {"mcp_servers": [{"name": "x"}], "prompt": {"id": "p"}}


@pytest.mark.parametrize("name", HOLDS)
def test_who_reads_such_a_member_says_what_it_holds(name: str) -> None:
    found = []
    for client in CLIENTS:
        call = written(client, Message("user", "hi"))
        body = {**msgspec.json.decode(call.body), name: VALUE.get(name, {"x": "y"})}
        call = ClientCall("POST", call.path, [], msgspec.json.encode(body))
        extra = dialects.get(client).parse_request(call, LossReport()).extra
        found += [extra[name].holds] if name in extra and extra[name].holds else []
    assert found and set(found) == {HOLDS[name]}


def test_what_nobody_took_of_an_object_is_kept_by_its_path() -> None:
    fields, extra = Fields({"type": "x", "a": 1, "b": None}, "tool_choice"), {"top_k": Member(1, "top_k")}
    fields.ignore("type")
    keep_rest(fields, extra)
    assert extra == {"top_k": Member(1, "top_k"), "tool_choice.a": Member(1, "tool_choice.a")}
