from __future__ import annotations

import pytest

from extproc.conformance.features import BY_NAME, FEATURES, Feature
from extproc.conformance.table import APIS
from extproc.llm.grammar import Grammar


def test_each_has_its_own_name_and_title() -> None:
    assert len(BY_NAME) == len(FEATURES) == len({feature.title for feature in FEATURES})


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_each_answer_is_legal(feature: Feature) -> None:
    for answer in (feature.answer, *feature.natively.values()):
        grammar = Grammar()
        assert [grammar.check(event) for event in answer] == list(answer)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_each_reads_one_side(feature: Feature) -> None:
    assert (feature.sent is None) is not (feature.got is None)
    assert set(feature.natively) <= set(APIS)
    if feature.sent is not None and not feature.echo:
        assert feature.sent(feature.request), "what is to arrive is in the request"
