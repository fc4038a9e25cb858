from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.errors import (
    INSUFFICIENT_QUOTA,
    MAX_MESSAGE,
    no_use_in_retrying,
    read_error,
    says_error,
)
from extproc.llm.failures import ErrorKind

K = ErrorKind
KINDS = {"rate_limit_error": K.RATE_LIMIT, "overloaded_error": K.OVERLOADED}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m", "type": "x"}}, "m"),
        ({"error": "m"}, "m"),
        ([{"error": {"message": "m"}}], "m"),
        ({"message": "m"}, "m"),
        ({"Message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body", "model"], "msg": "is missing"}, {"msg": "n"}]}, "body.model: is missing; n"),
        ({"object": "error", "message": "m"}, "m"),
        ({"base_resp": {"status_code": 1002, "status_msg": "m"}}, "m"),
        ({"code": 3, "msg": "m"}, "m"),
        ({"error_code": 17, "error_msg": "m"}, "m"),
        ({"fault": {"faultstring": "m", "detail": {"errorcode": "x"}}}, "m"),
        ({"Error": {"Message": "m"}}, "m"),
        ({"errors": [{"message": "m"}, {"message": "n"}]}, "m; n"),
        ({"title": "m", "status": 500}, "m"),
        ({"error": {"message": {"message": "m"}}}, "m"),
        ({"error": {"message": {"x": 1}}}, '{"x":1}'),
        ({"error": {"code": 1}, "message": "m"}, "m"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": {"message": "m"}}'}}},
         "Provider returned error: m"),
        ({"error": {"message": "e", "metadata": {"raw": "plain"}}}, "e: plain"),
        ({}, "upstream returned HTTP 500"),
        (None, "upstream returned HTTP 500"),
        ([], "upstream returned HTTP 500"),
    ],
    ids=str,
)  # fmt: skip
def test_the_message_wherever_it_stands(body: Any, message: str) -> None:
    assert read_error(body, 500, {}).message == message


def test_what_nobody_bounds_is_bounded() -> None:
    deep: Any = "m"
    for _ in range(500):
        deep = {"message": deep}
    assert len(read_error({"error": {"message": "x" * 9999}}, 500, {}).message) == MAX_MESSAGE
    assert read_error({"error": deep}, 500, {}).message


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"error": {"type": "overloaded_error", "message": "m"}}, 429, K.RATE_LIMIT),  # the status decides
        ({"error": {"type": "overloaded_error", "message": "m"}}, None, K.OVERLOADED),
        ({"error": {"type": "overloaded_error", "message": "m"}}, 200, K.OVERLOADED),
        ({"error": {"code": 429, "message": "m"}}, None, K.RATE_LIMIT),
        ({"error": {"status": 429, "message": "m"}}, None, K.RATE_LIMIT),
        ({"error": "m", "code": 429}, None, K.RATE_LIMIT),
        ({"statusCode": 429, "message": "m"}, None, K.RATE_LIMIT),
        ({"error": {"code": "429", "message": "m"}}, None, K.RATE_LIMIT),
        ({"error": {"code": "rate_limit_error"}}, None, K.RATE_LIMIT),
        ({"error": {"message": "m"}}, None, K.API),
        ({"base_resp": {"status_code": 1004, "status_msg": "m"}}, None, K.AUTHENTICATION),
        ({"error": {"message": "You have run out of credits"}}, None, K.BILLING),
        ({"error": {"message": "insufficient balance"}}, 429, K.BILLING),
        ({"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, 429, K.BILLING),
    ],
    ids=str,
)
def test_the_kind(body: Any, status: int | None, kind: ErrorKind) -> None:
    assert read_error(body, status, KINDS).kind is kind


def test_a_request_that_is_too_long_is_the_clients_whatever_the_status() -> None:
    words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    failed = read_error({"error": {"message": words}}, 500, {})
    assert (failed.kind, failed.status, failed.code) == (K.INVALID_REQUEST, 400, "context_length_exceeded")


def test_openais_own_code_for_an_empty_quota_stays() -> None:
    body = {"error": {"message": "You exceeded your current quota", "code": INSUFFICIENT_QUOTA}}
    failed = read_error(body, 429, {})
    assert (failed.kind, failed.status) == (K.RATE_LIMIT, 429) and no_use_in_retrying(failed)
    assert not no_use_in_retrying(read_error({"error": {"message": "slow down"}}, 429, {}))


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": "m"}, True),
        ({"object": "error"}, True),
        ({"type": "error"}, True),
        ({"base_resp": {"status_code": 1002}}, True),
        ({"success": False, "message": "m"}, True),
        ({"error": None, "choices": []}, False),
        ({"error": {"message": "", "code": 0}}, False),
        ({"base_resp": {"status_code": 0}}, False),
        ({"success": False}, False),
        ({"message": "m"}, False),
    ],
    ids=str,
)
def test_which_bodies_are_errors_under_a_good_status(body: Any, is_error: bool) -> None:
    assert says_error(body) is is_error
