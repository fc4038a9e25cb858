from __future__ import annotations

import pytest

from extproc.capabilities import Capabilities
from extproc.dialects.base import ClientCall, Upstream
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport

from .helpers import DIALECT, request


@pytest.mark.parametrize(
    ("members", "claimed"),
    [
        ({"model": "m", "input": "q", "instructions": "i"}, True),
        ({"model": "m", "input": [], "stream": True}, True),
        ({"model": "m", "input": "q"}, False),
        ({"model": "m", "input": ["q"], "dimensions": 3}, False),
        ({"model": "m", "messages": [], "input": "q", "stream": True}, False),
        ({"model": "m", "instructions": "i"}, False),
    ],
)
def test_claims(members: dict[str, object], claimed: bool) -> None:
    assert DIALECT.claims(members) is claimed


def test_requests_are_refused_in_words() -> None:
    with pytest.raises(Unsupported, match="not translated yet"):
        DIALECT.parse_request(ClientCall("POST", "/v1/responses", [], b"{}"), LossReport())
    with pytest.raises(Unsupported, match="not translated yet"):
        DIALECT.emit_request(request(), Upstream("openai", "/v1/responses", Capabilities()), LossReport())


def test_nothing_needs_mending() -> None:
    assert DIALECT.mend(b'{"input": 1}', LossReport()) == b'{"input": 1}'
