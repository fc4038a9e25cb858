from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future

from extproc.effects import Awaited, Effect, Failed, Failure, HttpAnswer, HttpCall, Result, unassisted


def test_what_is_asked_is_not_shown() -> None:
    call = HttpCall("https://s.example/v1?key=SECRET", headers=(("authorization", "SECRET"),), body=b"SECRET")
    assert repr(call) == "HttpCall(POST https://s.example/v1)"


def test_a_header_of_the_answer() -> None:
    answer = HttpAnswer(200, (("content-type", "a"), ("content-type", "b")))
    assert (answer.header("content-type"), answer.header("x")) == ("a", "")


def steps(effects: list[Effect]) -> Generator[Effect, Result, list[Result]]:
    found = []
    for effect in effects:
        found.append((yield effect))
    return found


def test_where_nobody_carries_effects_out_each_fails_and_the_work_goes_on() -> None:
    results = unassisted(steps([HttpCall("http://s"), Awaited(Future(), 1.0)]))
    assert [result.why for result in results if isinstance(result, Failed)] == [Failure.INVALID] * 2
    assert unassisted(steps([])) == []


def test_an_error_of_the_steps_is_theirs() -> None:
    def broken() -> Generator[Effect, Result, None]:
        yield HttpCall("http://s")
        raise ValueError("mine")

    try:
        unassisted(broken())
    except ValueError as error:
        assert str(error) == "mine"
    else:
        raise AssertionError("it was swallowed")
