"""``extproc translate request | response``: one body, without Envoy."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from .. import dialects
from ..dialects.base import Env, ResponseHead, UpstreamCall, is_stream
from ..llm.events import ResponseEvent
from ..llm.losses import Loss, LossReport
from ..llm.request import Request
from ..providers import native_to
from ..route import Route, compile_route
from ..settings import Limits
from ..translation.calls import Answer, Refused
from ..translation.response import Passed, Response, Translated
from ..translation.translation import Translation
from .base import Command, UsageError, opened, plain

CHUNK = 64 * 1024
"""Bytes of input that are translated at once; less when less has come."""


def arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(required=True, metavar="request|response")
    _request_arguments(kinds.add_parser("request", help="a client's request to the upstream's"))
    _response_arguments(kinds.add_parser("response", help="an upstream's answer to the client's"))


COMMAND = Command(
    "translate",
    "translate one request or response",
    arguments,
    [
        """echo '{"model": "gpt-5.4-mini", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}' | """
        "extproc translate request --client anthropic_messages --upstream openai_chat",
    ],
    ["0 translated", "1 refused: the error that the client would get was written", "2 wrong usage or configuration"],
)


def dialect_name(text: str) -> str:
    """A flag's value as the name of a dialect."""
    name = text.replace("-", "_")
    if name not in dialects.REGISTRY:
        raise argparse.ArgumentTypeError(f"unknown dialect {text!r}; choose one of: {', '.join(dialects.REGISTRY)}")
    return name


def _request_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the upstream's request body to standard output, or what the client is answered without one; and what "
        "was lost to standard error, one loss a line. "
        "A refused request gives status 1 and the error that the client would get."
    )
    parser.add_argument("--client", type=dialect_name, metavar="DIALECT", help="left out: detected from path and body")
    parser.add_argument("--upstream", type=dialect_name, metavar="DIALECT", help="left out: as the route says")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for, in place of the client's")
    parser.add_argument("--route", metavar="FILE", help="the text of a route's metadata (YAML or JSON)")
    parser.add_argument("--path", default="", help="the client's path, such as /v1/messages?beta=true")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the client's request body; standard input if left out")
    parser.set_defaults(run=_translate_request)


def _translate_request(args: argparse.Namespace) -> int:
    if args.upstream is None and args.route is None:
        raise UsageError("say --upstream, or --route with a file that names a provider")
    translation = Translation(args.client, args.upstream, route=_route(args.route, args.upstream, args.model))
    with opened(args.file) as source:
        body = source.read()
    try:
        made = translation.request(body, path=args.path)
        out, status = made.body, 0
        if isinstance(made, Answer):
            print(f"answered by the gateway: {made.why}", file=sys.stderr)
    except Refused as refused:
        out = refused.body
        print(f"refused with status {refused.status}", file=sys.stderr)
        status = 1
    _write(out)
    _say(translation.losses)
    return status


def _route(file: str | None, upstream: str | None, model: str | None) -> Route:
    text = f"{{provider: {native_to(upstream or dialects.FALLBACK)}, auth: none}}"
    if file is not None:
        with opened(file) as source:
            try:
                text = source.read().decode()
            except UnicodeDecodeError:
                raise UsageError(f"{file}: not UTF-8 text") from None
    return compile_route([text, None, {"options": {"model": model}} if model else None])


def _response_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes what the client gets to standard output as the upstream's answer comes in, and what was lost to "
        "standard error, one loss a line. An answer that looks like a stream is taken for one."
    )
    parser.add_argument("--client", type=dialect_name, metavar="DIALECT", required=True)
    parser.add_argument("--upstream", type=dialect_name, metavar="DIALECT", required=True)
    parser.add_argument("--request", metavar="FILE", help="the client's request body, where the answer depends on it")
    parser.add_argument("--status", type=int, default=200, metavar="N", help="the upstream's status (%(default)s)")
    parser.add_argument("--content-type", metavar="TYPE", help="the upstream's; left out: told from its first bytes")
    parser.add_argument("--stream", action="store_true", help="the client asked for a stream, whatever came back")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the upstream's body; standard input if left out")
    parser.set_defaults(run=_translate_response)


def _translate_response(args: argparse.Namespace) -> int:
    request = None
    if args.request is not None:
        with opened(args.request) as source:
            request = source.read()
    with opened(args.file) as source:
        chunks = _chunks(source)
        first = next(chunks, b"")
        head = ResponseHead(args.status, [("content-type", args.content_type or _looks_like(first))])
        try:
            answer = _Answer(args, head, request)
        except Refused as refused:
            raise UsageError(f"{args.request}: {refused}") from None
        for chunk in itertools.chain([first], chunks):
            _write(answer.feed(chunk, False))
        _write(answer.feed(b"", True))
    if answer.status() != args.status:
        print(f"status {answer.status()}", file=sys.stderr)
    _say(answer.losses())
    return 0


class _Answer:
    """The way of one response. With the client's request it is the whole exchange's; without it nothing is known of the
    request but whether it asked for a stream."""

    def __init__(self, args: argparse.Namespace, head: ResponseHead, request: bytes | None) -> None:
        if request is not None:
            self._of_exchange(args, head, request)
            return
        asked = Request(dialect=args.client, model="", messages=[], stream=args.stream or is_stream(head))
        call = UpstreamCall("POST", "", [], {}, asked)
        report = LossReport()
        env, limits = Env(time.time()), Limits()
        client, upstream = dialects.get(args.client), dialects.get(args.upstream)
        response: Response = (
            Passed(client, call, head, env, limits, report, [], _ignore)
            if client is upstream
            else Translated(client, upstream, call, head, env, limits, report, [], _ignore)
        )
        self.feed: Callable[[bytes, bool], bytes] = response.feed
        self.status: Callable[[], int] = lambda: response.head().status
        self.losses: Callable[[], Iterable[Loss]] = lambda: report

    def _of_exchange(self, args: argparse.Namespace, head: ResponseHead, request: bytes) -> None:
        exchange = Translation(args.client, args.upstream)
        exchange.request(request)
        exchange.response_head(head.status, head.headers)
        before = len(exchange.request_losses)
        self.feed = exchange.response_body
        self.status = lambda: exchange.head.status
        self.losses = lambda: list(exchange.losses)[before:]


def _ignore(event: ResponseEvent) -> None:
    """No record is kept of it."""


def _looks_like(first: bytes) -> str:
    """The content type that a body's first bytes speak for."""
    start = first.lstrip()
    if start.startswith((b"data:", b"event:", b"id:", b":")):
        return "text/event-stream"
    # The length of an event-stream message, as four bytes: no text begins with zero.
    return "application/vnd.amazon.eventstream" if first.startswith(b"\0") else "application/json"


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """What has come so far, again and again."""
    read = getattr(source, "read1", source.read)
    while chunk := read(CHUNK):
        yield chunk


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(losses: Iterable[Loss]) -> None:
    for loss in losses:
        print(plain(f"{loss} ({loss.detail})" if loss.detail else str(loss)), file=sys.stderr)
