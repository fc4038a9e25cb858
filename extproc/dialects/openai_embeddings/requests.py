"""What OpenAI's clients ask for: its own members, and those by which clients of other models say what OpenAI's API has
no word for (``input_type``, ``task_type``, ``title``, ``truncate``, ``auto_truncate``)."""

from __future__ import annotations

from typing import Any, Final

from ...llm.embeddings import EmbedRequest, Input, texts
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.losses import LossReport
from ..shared.purposes import PURPOSES
from ..shared.reading import decode

NAME: Final = "openai_embeddings"
MOST: Final = 2048
"""Texts of one request."""
WORDS = ("dimensions", "encoding_format", "task_type", "input_type", "title", "truncate", "auto_truncate")


def parse(body: bytes, losses: LossReport) -> EmbedRequest:
    """Raises ProtocolError."""
    fields = Fields(decode(body, ""), "")
    inputs = _inputs(fields.any("input"))
    form = fields.take("encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise ProtocolError("encoding_format", "expected float or base64")
    if fields.any("user") is not None:
        losses.dropped("user")
    at = {}
    purpose = None
    for name in ("task_type", "input_type"):
        said = fields.maybe(name, str)
        if said is None:
            continue
        at["purpose"] = name
        purpose = PURPOSES.get(said.lower())
        if purpose is None:
            losses.dropped(name, "nobody knows this word")
    request = EmbedRequest(
        dialect=NAME,
        model=fields.take("model", str, ""),
        inputs=inputs,
        dimensions=fields.maybe("dimensions", int),
        purpose=purpose,
        title=fields.maybe("title", str),
        truncate=_truncate(fields, at),
        base64=form == "base64",
        at=at,
    )
    losses.extra("", fields.rest())
    return request


def write(asked: EmbedRequest, losses: LossReport) -> dict[str, Any]:
    """The members of a request by clients of another API. Raises Unsupported."""
    members: dict[str, Any] = {"model": asked.model, "input": texts(asked, MOST), "encoding_format": "float"}
    if asked.dimensions is not None:
        members["dimensions"] = asked.dimensions
    for word, said in (("purpose", asked.purpose), ("title", asked.title), ("truncate", asked.truncate)):
        if said is not None:
            losses.dropped(asked.path_of(word))
    return members


def _truncate(fields: Fields, at: dict[str, str]) -> bool | None:
    for name in ("truncate", "auto_truncate"):
        said: Any = fields.any(name)
        if said is None:
            continue
        at["truncate"] = name
        if type(said) is bool:
            return said
        if type(said) is str:
            return said.upper() != "NONE"
        raise ProtocolError(name, f"expected a boolean, got {json_type(said)}")
    return None


def _inputs(given: Any) -> list[Input]:
    if given is None:
        raise ProtocolError("input", "is missing")
    if type(given) is str:
        return [_input(given, "input")]
    if type(given) is not list:
        raise ProtocolError("input", f"expected a string or an array, got {json_type(given)}")
    if not given:
        raise ProtocolError("input", "is empty")
    if type(given[0]) is int:
        # One input, as its tokens.
        return [_input(given, "input")]
    return [_input(each, f"input[{index}]") for index, each in enumerate(given)]


def _input(given: Any, path: str) -> Input:
    if type(given) is str:
        if not given:
            raise ProtocolError(path, "is empty")
        return Input(given, at=path)
    if type(given) is not list:
        raise ProtocolError(path, f"expected a string or an array of tokens, got {json_type(given)}")
    if not given:
        raise ProtocolError(path, "is empty")
    for index, token in enumerate(given):
        if type(token) is not int:
            raise ProtocolError(f"{path}[{index}]", f"expected an integer, got {json_type(token)}")
    return Input(tokens=given, at=path)
