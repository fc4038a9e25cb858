"""What holds for every dialect of embeddings."""

from __future__ import annotations

import json

import pytest

from extproc import dialects
from extproc.dialects.base import Answering, ClientCall, Env, Meta, Operation, ResponseHead, Upstream, UpstreamCall
from extproc.llm import events as e
from extproc.llm.failures import ErrorKind, Unsupported
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.providers import EMBEDDINGS
from extproc.settings import Limits

REQUEST = Request(dialect="openai_chat", model="m", messages=[])
JSON = [("content-type", "application/json")]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_it_holds_no_conversation(name: str) -> None:
    dialect = dialects.get(name)
    assert not dialect.converses and all(dialect.operation(path) is Operation.EMBED for path in dialect.paths)
    with pytest.raises(Unsupported, match="can only answer embeddings"):
        dialect.emit_request(REQUEST, Upstream("p", "/x/{model}", model="m"), LossReport())
    with pytest.raises(Unsupported, match="embeddings"):
        dialect.parse_request(ClientCall("POST", dialect.paths[0], [], b"{}"), LossReport())


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_error_comes_back_as_it_was_said(name: str) -> None:
    dialect = dialects.get(name)
    head, body = dialect.emit_error(e.ResponseFailed(ErrorKind.RATE_LIMIT, "slow", 429), Meta())
    assert head.status == 429 and b"slow" in body
    parser = dialect.response_parser(UpstreamCall("POST", "", [], {}, REQUEST), head, Limits(), LossReport())
    (failed,) = [*parser.feed(body[:5]), *parser.feed(body[5:]), *parser.end()]
    assert isinstance(failed, e.ResponseFailed)
    assert (failed.kind, failed.message, failed.status) == (ErrorKind.RATE_LIMIT, "slow", 429)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_answer_that_holds_no_vectors_is_an_error_to_others(name: str) -> None:
    dialect = dialects.get(name)
    emitter = dialect.response_emitter(Answering(REQUEST, ResponseHead(200, JSON), Meta(), Env(), LossReport()))
    said = emitter.emit(e.ResponseStarted("", "m")) + emitter.emit(e.ResponseEnded(e.StopReason.END))
    assert emitter.head.status == 502 and b"vectors" in said
    json.loads(said)
