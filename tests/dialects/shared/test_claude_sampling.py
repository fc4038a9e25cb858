from __future__ import annotations

import pytest

from extproc import capabilities
from extproc.dialects.shared.claude_sampling import no_seed_no_penalties, unwanted
from extproc.llm.losses import LossReport
from extproc.llm.request import Request, Sampling

ALL = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("wish", "quirks", "thinks", "refused"),
    [
        (Sampling(), {}, False, ()),
        (Sampling(temperature=0.5, top_p=0.5), {"temperature_with_top_p": True}, False, ()),
        (Sampling(temperature=0.5, top_p=0.5), {"temperature_with_top_p": False}, False, ("top_p",)),
        (Sampling(top_p=0.5), {"temperature_with_top_p": False}, False, ()),
        (Sampling(top_p=0.5), {"sampling": False}, False, ALL),
        (Sampling(top_p=0.95), {}, True, ("temperature", "top_k")),
        (Sampling(), {}, True, ("temperature", "top_k")),
        (Sampling(top_p=0.94), {}, True, ALL),
    ],
    ids=repr,
)
def test_what_the_model_refuses(
    wish: Sampling, quirks: dict[str, object], thinks: bool, refused: tuple[str, ...]
) -> None:
    row = capabilities.packaged().find("anthropic", "claude-haiku-4-5", {"sampling": True} | quirks)
    assert unwanted(wish, row, thinks=thinks) == refused


@pytest.mark.parametrize(
    ("wish", "lost"),
    [
        (Sampling(), []),
        (Sampling(frequency_penalty=0.0, presence_penalty=0.0), []),
        (Sampling(seed=0, frequency_penalty=0.1), ["seed:dropped", "frequency_penalty:dropped"]),
        (Sampling(presence_penalty=-1.0), ["presence_penalty:dropped"]),
    ],
    ids=repr,
)
def test_what_has_no_member(wish: Sampling, lost: list[str]) -> None:
    losses = LossReport()
    no_seed_no_penalties(Request(dialect="d", model="m", messages=[], sampling=wish), losses)
    assert [str(loss) for loss in losses] == lost
