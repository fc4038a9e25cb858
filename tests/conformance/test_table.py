from __future__ import annotations

import pytest

from extproc.conformance import APIS, Grade, rows
from extproc.conformance.features import BY_NAME


@pytest.mark.parametrize("client", APIS)
@pytest.mark.parametrize("upstream", APIS)
def test_no_feature_of_any_pair_is_lost_in_silence_or_broken(client: str, upstream: str) -> None:
    found = list(rows(clients=[client], upstreams=[upstream]))
    assert [row.feature for row in found] == list(BY_NAME)
    assert [(row.feature, row.finding) for row in found if row.finding.grade.is_fault] == []
    if client == upstream:
        # An API to itself keeps all that it has.
        assert {row.feature for row in found if row.finding.grade not in (Grade.EXACT, Grade.ABSENT)} == set()


@pytest.mark.parametrize("name", BY_NAME)
def test_every_feature_concerns_some_api(name: str) -> None:
    found = [row for api in APIS for row in rows(clients=[api], upstreams=[api], features=[name])]
    assert any(row.finding.grade is Grade.EXACT for row in found)


def test_only_what_is_asked_for_is_judged() -> None:
    (row,) = rows(clients=["gemini"], upstreams=["openai_chat"], features=["text"])
    assert (row.client, row.upstream, row.feature) == ("gemini", "openai_chat", "text")


def test_the_model_can_be_named() -> None:
    models = {"openai_chat": ("my-model", "my-model")}
    (row,) = rows(clients=["gemini"], upstreams=["openai_chat"], features=["seed"], models=models)
    assert row.finding.grade is Grade.EXACT
