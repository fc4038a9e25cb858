from __future__ import annotations

import pytest

from extproc.exchange.phases import TABLE, Kind, Phase, Unexpected, expect


def test_every_phase_has_its_row() -> None:
    assert set(TABLE) == set(Phase)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", Kind)
def test_expect_says_what_the_table_says(phase: Phase, kind: Kind) -> None:
    if kind in TABLE[phase]:
        assert expect(phase, kind) == TABLE[phase][kind] != frozenset()
    else:
        with pytest.raises(Unexpected) as raised:
            expect(phase, kind)
        assert (raised.value.phase, raised.value.kind) == (phase, kind)


def test_every_phase_can_be_reached() -> None:
    reached, more = set(), {Phase.OPEN}
    while more:
        reached |= more
        more = {after for phase in more for ends in TABLE[phase].values() for after in ends} - reached
    assert reached == set(Phase)


def test_nothing_leads_back() -> None:
    order = list(Phase)
    for phase, row in TABLE.items():
        for ends in row.values():
            assert all(order.index(after) >= order.index(phase) for after in ends)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OVER])
def test_what_is_not_over_can_still_be_answered_by_us_or_has_a_response(phase: Phase) -> None:
    leads = {after for ends in TABLE[phase].values() for after in ends}
    assert leads & {Phase.OVER, Phase.PASSING, Phase.ENDED}
