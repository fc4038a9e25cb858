from __future__ import annotations

import pytest

from extproc.check import rules_clusters
from tests.check.edits import Edit
from tests.check.judged import assert_found, edits_of


@pytest.mark.parametrize(("code", "edit"), edits_of(rules_clusters.__name__))
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    assert_found(code, edit)
