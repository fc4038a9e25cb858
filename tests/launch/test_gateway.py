from __future__ import annotations

from typing import Any

import pytest

from extproc.demo.provider import ScriptedProvider, json_answer
from extproc.launch.gateway import listed
from extproc.wire import NoAnswer
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("body", "status", "models"),
    [({"data": [{"id": "a"}, {"id": 1}, 7]}, 200, ["a"]), ({}, 404, []), ({"data": []}, 200, [])],
)
def test_what_a_gateway_lists(body: Any, status: int, models: list[str]) -> None:
    with ScriptedProvider(lambda request: json_answer(body, status)) as gateway:
        assert listed(f"http://127.0.0.1:{gateway.port}") == models


def test_where_there_is_none_it_is_said() -> None:
    with pytest.raises(NoAnswer, match="nothing answers at http"):
        listed(f"http://127.0.0.1:{free_port()}")
    with (
        ScriptedProvider(lambda request: json_answer({}, 503)) as down,
        pytest.raises(NoAnswer, match="answers GET /v1/models with 503"),
    ):
        listed(f"http://127.0.0.1:{down.port}")
    with pytest.raises(NoAnswer, match="is no URL of a gateway"):
        listed("127.0.0.1:10000")
