from __future__ import annotations

import pytest

from extproc.check import rules_clusters
from extproc.reference import config as envoy_config
from tests.check.edits import Edit
from tests.check.judged import assert_found, assert_found_on_the_listener, edits_of, found_in, listener_edits_of
from tests.support import placements


@pytest.mark.parametrize(("code", "edit"), edits_of(rules_clusters.__name__))
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    assert_found(code, edit)


@pytest.mark.parametrize(("code", "variant", "edit"), listener_edits_of(rules_clusters.__name__))
def test_an_edit_on_the_listener_gives_its_finding_and_no_other(code: str, variant: str | None, edit: Edit) -> None:
    assert_found_on_the_listener(code, variant, edit)


def test_small_bounds_of_answers_are_right_where_no_cluster_has_a_filter() -> None:
    assert found_in(placements.bounded(envoy_config.reference())) == []
