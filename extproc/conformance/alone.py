"""What can be told of a gateway whose upstream answers as it likes: that each client's API is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.events import StopReason
from ..llm.fold import Folded
from ..llm.request import Sampling, ToolChoice
from . import reading
from .features import BY_NAME, HELLO
from .judge import Gateway, Grade, Judgement
from .sides import AskedSide, AskingSide


class Demand(Frozen):
    """``holds`` says what is wrong with an answer to the request of *feature*; nothing if it is as it should be."""

    name: str
    title: str
    feature: str
    holds: Callable[[Folded], str]
    demanded: bool = False
    """The tool that the request has must be called."""
    max_tokens: int = 512


def _spoke(answer: Folded) -> str:
    return "" if reading.answer_text(answer).strip() else "no text"


def _counted(answer: Folded) -> str:
    return "" if all(reading.usage(answer)) else f"counts of {reading.usage(answer)}"


def _called(answer: Folded) -> str:
    try:
        made = reading.made_calls(answer)
    except msgspec.DecodeError as error:
        return f"a call whose input is no JSON: {error}"
    good = made and all(name == "get_weather" and isinstance(input_.get("city"), str) for name, input_ in made)
    return "" if good else f"calls of {made}"


def _formed(answer: Folded) -> str:
    try:
        value = msgspec.json.decode(reading.answer_text(answer))
    except msgspec.DecodeError as error:
        return f"no JSON: {error}"
    return "" if isinstance(value, dict) and {"name", "age"} <= set(value) else f"not of the schema: {value}"


def _bounded(answer: Folded) -> str:
    return "" if answer.ended and answer.ended.stop is StopReason.MAX_TOKENS else reading.stop_reason(answer)


CHECKS = (
    Demand("text", "answers with text", "text", _spoke),
    Demand("usage", "tells token counts", "text", _counted),
    Demand("calls", "calls the tool that is demanded", "tools", _called, demanded=True),
    Demand("schema", "keeps to a schema", "schema", _formed),
    Demand("stop_length", "says that the bound ended it", "text", _bounded, max_tokens=16),
)


def rows(gateway: Callable[[str], Gateway], clients: Iterable[str], model: str) -> Iterable[tuple[str, str, Judgement]]:
    """AskingSide, check and finding, of each: whole and streamed, the worse of the two."""
    for name in clients:
        for check in CHECKS:
            found = Judgement(Grade.ABSENT)
            for stream in (False, True):
                found = found.or_worse(_checked(gateway(name), AskingSide(name, model), check, stream))
            yield name, check.name, found


def _checked(gateway: Gateway, client: AskingSide, check: Demand, stream: bool) -> Judgement:
    request = replace(BY_NAME[check.feature].request, stream=stream, sampling=Sampling(max_tokens=check.max_tokens))
    if check.demanded:
        request = replace(request, tool_choice=ToolChoice("required"))
    call, told = client.asks(request)
    provider = AskedSide(client.dialect.name)
    try:
        seen = gateway.ask(call, provider, lambda request: provider.answers(request, HELLO))
    except OSError as error:
        return Judgement(Grade.BROKEN, str(error) or type(error).__name__)
    got = client.reads(told, seen.head, seen.body)
    if got.failed is not None:
        return Judgement(Grade.BROKEN, got.failed.message)
    problem = check.holds(got)
    return Judgement(Grade.BROKEN, problem) if problem else Judgement(Grade.EXACT)
