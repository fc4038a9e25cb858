from __future__ import annotations

import pytest

from extproc.check import check, schema
from tests.check.edits import Edit
from tests.check.judged import TEXT, assert_found, edited, edits_of, line_of


@pytest.mark.parametrize(("code", "edit"), edits_of(schema.__name__))
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    assert_found(code, edit)


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("failure_mode_allow: false", "failure_mode_allowed: false", "failure_mode_allowed"),
        ("request_body_mode: BUFFERED", "request_body_mode: WHOLE", "request_body_mode: WHOLE"),
    ],
)
def test_what_no_message_has_is_named_by_its_line(old: str, new: str, at: str) -> None:
    text = edited(old, new)
    found = [finding for finding in check(text) if finding.code == "schema"]
    assert found and found[0].line == line_of(text, at)


def test_what_is_a_message_is_not_found() -> None:
    assert [finding for finding in check(TEXT) if finding.code == "schema"] == []
