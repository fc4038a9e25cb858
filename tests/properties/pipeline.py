"""Any upstream dialect's bytes to any client dialect's, without requests: what the properties run on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from extproc import dialects
from extproc.dialects.base import Env, ResponseHead, UpstreamCall
from extproc.llm import events as e
from extproc.llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from extproc.llm.grammar import Grammar, State
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits
from extproc.translation.response import Translated

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = [name for name, dialect in dialects.REGISTRY.items() if dialect.converses]
ENV = Env(now=1_800_000_000.0, request_id="req-1")
LIMITS = Limits()
MADE_ID = re.compile(r"^(?:call|toolu|tooluse)_(?=[0-9a-f]{24}$)")
"""What each dialect puts before an id that it had to make."""


def goldens(dialect: str) -> list[Path]:
    return sorted(path for path in (GOLDEN / dialect).glob("*") if path.suffix in (".sse", ".bin"))


ALL_GOLDENS = [(name, path) for name in NAMES for path in goldens(name)]
PAIRS = [(client, upstream, path) for client in NAMES for upstream, path in ALL_GOLDENS]


def pair_id(pair: tuple[str, str, Path]) -> str:
    client, upstream, path = pair
    return f"{upstream}/{path.stem}->{client}"


def request(client: str, *, stream: bool) -> Request:
    return Request(dialect=client, model="m", messages=[], stream=stream)


def head(dialect: str) -> ResponseHead:
    return ResponseHead(200, [("content-type", dialects.get(dialect).stream_type)])


def translated(
    client: str, upstream: str, *, stream: bool = True, seen: list[e.ResponseEvent] | None = None
) -> Translated:
    call = UpstreamCall("POST", "/", [], {}, request(client, stream=stream))
    note = (seen if seen is not None else []).append
    to, by = dialects.get(client), dialects.get(upstream)
    return Translated(to, by, call, head(upstream), ENV, LIMITS, LossReport(), [], note)


def run(client: str, upstream: str, chunks: Iterable[bytes]) -> bytes:
    """The client's stream."""
    response = translated(client, upstream)
    out = [response.feed(chunk, False) for chunk in chunks]
    out.append(response.feed(b"", True))
    assert response.feed(b"more", True) == b"", "nothing comes after the end"
    return b"".join(out)


def parse(dialect: str, data: bytes, answer: ResponseHead | None = None) -> list[e.ResponseEvent]:
    """What a client of *dialect* reads in *data*: checked against the grammar, and ended exactly once."""
    answer = answer or head(dialect)
    call = UpstreamCall("POST", "/", [], {}, request(dialect, stream=True))
    parser = dialects.get(dialect).response_parser(call, answer, LIMITS, LossReport())
    events = parser.feed(data) + parser.end()
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.state is State.ENDED
    return events


def run_whole(client: str, upstream: str, data: bytes) -> list[e.ResponseEvent]:
    """What a client that asked for no stream reads."""
    response = translated(client, upstream, stream=False)
    assert response.feed(data, False) == b""
    out = response.feed(b"", True)
    return parse(client, out, response.head())


def input_of(call: ToolCallBlock) -> object:
    """What a call's input says, however it is spaced; text that is no JSON as it is."""
    try:
        return msgspec.json.decode(call.input or "{}")
    except msgspec.DecodeError:
        return call.input


def gist(folded: Folded, *, opaque: bool = False) -> list[object]:
    """What every dialect can tell apart of a response: the texts, the thinking, the calls, how it ended, the counts."""
    text = "".join(block.text for block in folded.blocks if isinstance(block, TextBlock))
    thinking = "".join(block.text for block in folded.blocks if isinstance(block, ThinkingBlock))
    calls = [(MADE_ID.sub("", b.id), b.name, input_of(b)) for b in folded.blocks if isinstance(b, ToolCallBlock)]
    ending: object = None
    if folded.ended is not None:
        usage = folded.ended.usage
        ending = (usage.input_tokens or 0, usage.output_tokens or 0, usage.cache_read_tokens or 0)
    return [text, thinking, calls, ending, folded.failed is not None] + (
        [sum(isinstance(b, OpaqueBlock) for b in folded.blocks)] if opaque else []
    )
