from __future__ import annotations

from typing import Any

import pytest

from extproc.effects import HttpAnswer, HttpCall
from extproc.llm.events import ResponseEnded, StopReason
from extproc.llm.request import Request
from extproc.policy.base import ALL_OF_IT, Configured, Deny, Policy, PolicyError, Window


def test_a_policy_that_says_nothing_changes_nothing() -> None:
    policy, request, body = Policy(), Request(dialect="d", model="m", messages=[]), b"{}"
    events: list[Any] = [ResponseEnded(StopReason.END)]
    assert policy.on_body(body) is body and policy.on_request(request) is request
    assert policy.on_events(events, True) is events
    assert policy.window is None, "answers pass without being held or read for it"


def test_a_denial_is_a_models_refusal_unless_it_says_an_error() -> None:
    assert (Deny("no").status, Deny("no").code) == (200, "content_policy_violation")
    assert Deny("no", 403, "x") == Deny("no", 403, "x") != Deny("no")


def test_what_cannot_say_closes() -> None:
    configured = Configured("p", lambda context: Policy())
    assert not configured.fail_open and not configured.quiet


def test_a_window_holds_what_has_not_been_looked_at() -> None:
    assert Window() == Window(0, True) and Window(ALL_OF_IT).chars > 1 << 40


def test_an_operators_fault_names_its_path() -> None:
    error = PolicyError("policies[0].x", "is needed")
    assert (error.path, error.problem, str(error)) == ("policies[0].x", "is needed", "is needed")


def test_a_judgement_may_take_a_call() -> None:
    class Asks(Policy):
        def on_request(self, request: Request) -> Any:
            answer = yield HttpCall("http://s")
            return request if answer.status == 200 else Deny("no")

    request = Request(dialect="d", model="m", messages=[])
    for status, expected in ((200, request), (500, Deny("no"))):
        steps = Asks().on_request(request)
        assert next(steps) == HttpCall("http://s")
        with pytest.raises(StopIteration) as ended:
            steps.send(HttpAnswer(status))
        assert ended.value.value == expected
