from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import dialects
from extproc.dialects.base import ClientCall
from extproc.dialects.shared.members import HOLDS
from extproc.llm.losses import LossReport
from extproc.llm.request import Message
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
