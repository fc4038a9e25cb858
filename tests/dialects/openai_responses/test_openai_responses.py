from __future__ import annotations

import pytest

from .helpers import DIALECT


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
