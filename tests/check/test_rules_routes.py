from __future__ import annotations

import pytest

from extproc.check import rules_routes
from tests.check.edits import Edit
from tests.check.judged import assert_found, assert_found_on_the_listener, edits_of, listener_edits_of


@pytest.mark.parametrize(("code", "edit"), edits_of(rules_routes.__name__))
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    assert_found(code, edit)


@pytest.mark.parametrize(("code", "variant", "edit"), listener_edits_of(rules_routes.__name__))
def test_an_edit_of_the_listener_placement(code: str, variant: str | None, edit: Edit) -> None:
    assert_found_on_the_listener(code, variant, edit)
