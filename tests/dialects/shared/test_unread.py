from __future__ import annotations

import pytest

from extproc.dialects.base import Asked, ClientCall, Operation, PassesUnread, Upstream
from extproc.dialects.openai_endpoints import OpenAIEndpoints
from extproc.dialects.shared.unread import Unread, is_inside
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Request


def test_what_passes_has_no_words() -> None:
    dialect = OpenAIEndpoints()
    assert isinstance(dialect, Unread) and isinstance(dialect, PassesUnread) and dialect.speaks("/v1/files", [])
    assert dialect.peek("/v1/files", {}) == Asked(operation=Operation.ELSE) and not dialect.claims({"input": 1})
    with pytest.raises(Unsupported):
        dialect.parse_request(ClientCall("POST", "/v1/files", [], b""), LossReport())
    with pytest.raises(Unsupported):
        dialect.emit_request(Request(dialect="x", model="m", messages=[]), Upstream("openai", "/v1"), LossReport())


@pytest.mark.parametrize(("rest", "inside"), [("files/a", True), ("files/../x", False), ("files/.", False)])
def test_a_path_stays_below_its_api(rest: str, inside: bool) -> None:
    assert is_inside(rest) is inside
