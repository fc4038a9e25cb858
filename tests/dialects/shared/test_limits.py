from __future__ import annotations

import pytest

from extproc import capabilities
from extproc.dialects.shared.limits import leave_out, max_tokens, stop_sequences
from extproc.llm.failures import Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Member, Request, Sampling


def asked(max_tokens: int | None = None, *stop: str) -> Request:
    sampling = Sampling(max_tokens=max_tokens, stop=list(stop))
    return Request(dialect="d", model="m", messages=[], sampling=sampling, at={"max_tokens": "n", "stop": "s"})


def row(**quirks: object) -> capabilities.Capabilities:
    return capabilities.packaged().find("openai", "nobody-knows-it", quirks)


@pytest.mark.parametrize(
    ("wish", "most", "least", "given", "lost"),
    [
        (None, 10, 16, None, []),
        (9, 10, 1, 9, []),
        (10, 10, 1, 10, []),
        (11, 10, 1, 10, ["n:clamped"]),
        (11, None, 1, 11, []),
        (3, None, 16, 16, ["n:clamped"]),
        (16, None, 16, 16, []),
    ],
)
def test_how_long_the_answer_may_be(
    wish: int | None, most: int | None, least: int, given: int | None, lost: list[str]
) -> None:
    losses = LossReport()
    assert max_tokens(asked(wish), row(max_output=most), losses, least) == given
    assert [str(loss) for loss in losses] == lost


@pytest.mark.parametrize("wish", [0, -1])
def test_an_answer_of_nothing(wish: int) -> None:
    with pytest.raises(Unsupported, match="n must be at least 1"):
        max_tokens(asked(wish), row(), LossReport(), least=16)


@pytest.mark.parametrize(
    ("stop", "quirks", "blank", "kept", "lost"),
    [
        (["a", "", " "], {}, True, ["a", " "], ["s[1]:dropped"]),
        (["a", "", " "], {}, False, ["a"], ["s[1]:dropped", "s[2]:dropped"]),
        (["a", "b"], {"stop": False}, True, [], ["s[0]:dropped", "s[1]:dropped"]),
        (["", "a", "b", "c"], {"stop_max": 2}, True, ["a", "b"], ["s[0]:dropped", "s[3]:dropped"]),
    ],
)
def test_where_it_shall_end(
    stop: list[str], quirks: dict[str, object], blank: bool, kept: list[str], lost: list[str]
) -> None:
    losses = LossReport()
    assert stop_sequences(asked(None, *stop), row(**quirks), losses, blank=blank) == kept
    assert [str(loss) for loss in losses] == lost


def test_members_without_a_place() -> None:
    losses = LossReport()
    leave_out(Member(1, "a"), losses)
    leave_out(Member(1, "b", cost_only=True), losses)
    assert [(str(loss), loss.cost_only) for loss in losses] == [("a:dropped", False), ("b:dropped", True)]
    with pytest.raises(Unsupported, match=r"^c is not supported for this model") as caught:
        leave_out(Member(1, "c", essential=True), losses)
    assert caught.value.code == "unsupported_parameter"
    with pytest.raises(Unsupported, match=r"^no c here") as caught:
        leave_out(Member(1, "c", essential=True, problem="no c here", code="missing"), losses)
    assert caught.value.code == "missing" and len(losses) == 2
