"""How a denial is said. What each API makes of it is in ``tests/dialects/test_base.py``."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.events import StopReason
from extproc.policy.base import PolicyError
from extproc.policy.denying import denying
from extproc.policy.given import Given

NOBODY: Any = None  # no secret, no model


def given(**members: Any) -> Given:
    return Given(members, "guard", NOBODY)


def test_a_denial_is_a_refusal_unless_the_operator_says_otherwise() -> None:
    deny = denying(given()).deny("not this")
    assert (deny.text, deny.status, deny.stop, deny.worded) == ("not this", 200, StopReason.REFUSAL, False)
    deny = denying(given(deny_as="worded_refusal")).deny("not this")
    assert (deny.stop, deny.worded) == (StopReason.REFUSAL, True)
    deny = denying(given(deny_as="answer", deny_message="No.")).deny("not this")
    assert (deny.text, deny.status, deny.stop) == ("No.", 200, StopReason.END)
    assert denying(given(deny_code=451)).deny("no").status == 451


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"deny_code": 302}, "expected 200"),
        ({"deny_code": 600}, "expected 200"),
        ({"deny_as": "x"}, "choose one of: refusal, worded_refusal, answer"),
        ({"deny_message": 3}, "expected text"),
    ],
)
def test_what_is_wrong_is_said(members: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        denying(given(**members))
