from __future__ import annotations

import pytest

from extproc.llm.failures import STATUS_OF, ErrorKind, ProtocolError, kind_of_status


def test_every_kind_has_a_status_that_leads_back() -> None:
    assert {kind_of_status(STATUS_OF[kind]) for kind in ErrorKind} == set(ErrorKind)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (418, ErrorKind.INVALID_REQUEST), (422, ErrorKind.INVALID_REQUEST), (408, ErrorKind.TIMEOUT),
        (529, ErrorKind.OVERLOADED), (502, ErrorKind.API), (599, ErrorKind.API), (401, ErrorKind.AUTHENTICATION),
    ],
)  # fmt: skip
def test_other_statuses(status: int, kind: ErrorKind) -> None:
    assert kind_of_status(status) is kind


def test_a_protocol_error_says_where() -> None:
    assert str(ProtocolError("messages[0]", "is missing")) == "messages[0]: is missing"
    assert str(ProtocolError("", "not JSON")) == "not JSON"
