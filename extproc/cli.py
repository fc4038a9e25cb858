"""The command line: ``extproc serve | health | translate | demo | dialects | models | settings``. Thin: each command
calls one part of the package.

Exit status: 0 done; 1 the request was refused, the server does not serve, or the demo found a step wrong; 2 wrong usage
or configuration.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

from . import capabilities, dialects, settings
from .dialects.base import ClientCall, Env, ResponseHead, Upstream, UpstreamCall, is_stream
from .llm.events import ResponseEvent
from .llm.failures import ProtocolError, Unsupported
from .llm.losses import Loss, LossReport
from .llm.request import Message, Request
from .providers import PROVIDERS, native_to
from .route import Route, RouteError, compile_route
from .settings import Limits
from .translation.calls import Answer, Refused
from .translation.response import Passed, Response, Translated
from .translation.translation import Translation

CHUNK = 64 * 1024
"""Bytes of input that are translated at once; less when less has come."""


class UsageError(Exception):
    """The user's mistake; the message is one line."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
        return status
    except (UsageError, RouteError, dialects.UnknownDialect) as error:
        print(f"extproc: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Who reads the output has seen enough. The interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    about = "Translates between LLM APIs: beside Envoy (serve), or on the command line (translate)."
    parser = argparse.ArgumentParser(prog="extproc", description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _serve_arguments(commands.add_parser("serve", help="run the ext_proc server that Envoy calls"))
    _health_arguments(commands.add_parser("health", help="ask a running server whether it serves; status 0 or 1"))
    translate = commands.add_parser("translate", help="translate one request or response")
    kinds = translate.add_subparsers(required=True, metavar="request|response")
    _request_arguments(kinds.add_parser("request", help="a client's request to the upstream's"))
    _response_arguments(kinds.add_parser("response", help="an upstream's answer to the client's"))
    _check_arguments(commands.add_parser("check", help="what is wrong with an Envoy configuration"))
    _import_arguments(commands.add_parser("import", help="another gateway's routes as Envoy configuration"))
    demo = commands.add_parser("demo", help="a tour of both directions through a real Envoy on this machine")
    demo.add_argument("--once", action="store_true", help="end after the tour; status 0 only if every step was right")
    demo.set_defaults(run=_demo)
    matrix = commands.add_parser("dialects", help="which API can be translated to which, and who speaks it")
    matrix.set_defaults(run=_dialects)
    models = commands.add_parser("models", help="what each model can do, where that is known from, and when it ends")
    models.add_argument("model", nargs="*", help="names in any spelling; left out: every row")
    models.add_argument("--capabilities", default="", metavar="FILE", help="rows that go over those that are built in")
    models.add_argument("--provider", default="", help="as this provider serves it")
    models.set_defaults(run=_models)
    listed = commands.add_parser("settings", help="the flags and environment variables of serve")
    listed.set_defaults(run=_settings)
    return parser


def _dialect_name(text: str) -> str:
    name = text.replace("-", "_")
    if name not in dialects.REGISTRY:
        raise argparse.ArgumentTypeError(f"unknown dialect {text!r}; choose one of: {', '.join(dialects.REGISTRY)}")
    return name


# ---- translate


def _request_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the upstream's request body to standard output, or what the client is answered without one; and what "
        "was lost to standard error, one loss a line. "
        "A refused request gives status 1 and the error that the client would get."
    )
    parser.add_argument("--client", type=_dialect_name, metavar="DIALECT", help="left out: detected from path and body")
    parser.add_argument("--upstream", type=_dialect_name, metavar="DIALECT", help="left out: as the route says")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for, in place of the client's")
    parser.add_argument("--route", metavar="FILE", help="the text of a route's metadata (YAML or JSON)")
    parser.add_argument("--path", default="", help="the client's path, such as /v1/messages?beta=true")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the client's request body; standard input if left out")
    parser.set_defaults(run=_translate_request)


def _translate_request(args: argparse.Namespace) -> int:
    if args.upstream is None and args.route is None:
        raise UsageError("say --upstream, or --route with a file that names a provider")
    translation = Translation(args.client, args.upstream, route=_route(args.route, args.upstream, args.model))
    with _opened(args.file) as source:
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
        with _opened(file) as source:
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
    parser.add_argument("--client", type=_dialect_name, metavar="DIALECT", required=True)
    parser.add_argument("--upstream", type=_dialect_name, metavar="DIALECT", required=True)
    parser.add_argument("--request", metavar="FILE", help="the client's request body, where the answer depends on it")
    parser.add_argument("--status", type=int, default=200, metavar="N", help="the upstream's status (%(default)s)")
    parser.add_argument("--content-type", metavar="TYPE", help="the upstream's; left out: told from its first bytes")
    parser.add_argument("--stream", action="store_true", help="the client asked for a stream, whatever came back")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the upstream's body; standard input if left out")
    parser.set_defaults(run=_translate_response)


def _translate_response(args: argparse.Namespace) -> int:
    request = None
    if args.request is not None:
        with _opened(args.request) as source:
            request = source.read()
    with _opened(args.file) as source:
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


def _opened(file: str | None) -> AbstractContextManager[BinaryIO]:
    if file is None or file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


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
        print(f"{loss} ({loss.detail})" if loss.detail else str(loss), file=sys.stderr)


# ---- Envoy's configuration


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Says what is wrong with Envoy configurations that call the sidecar, what will happen to a user, and what to "
        "write instead. Status 1 if anything found is an error."
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="(%(default)s)")
    parser.add_argument(
        "--no-envoy", action="store_true",
        help="do not also run `envoy --mode validate`, which is done where there is an Envoy",
    )  # fmt: skip
    parser.add_argument(
        "files", nargs="+", metavar="FILE",
        help="a bootstrap (YAML, JSON), Envoy's /config_dump, a ConfigMap that holds a bootstrap, or EnvoyFilters",
    )  # fmt: skip
    parser.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    from .check import main as check
    from .demo.processes import envoy_binary

    try:
        envoy = None if args.no_envoy else envoy_binary()
    except FileNotFoundError:
        envoy = None
    return check(args.files, args.format, envoy)


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes the equivalent Envoy configuration to standard output, and what has no equivalent to standard error."
    )
    parser.add_argument(
        "source", choices=("apisix", "aigw"),
        help="apisix: routes of the Admin API, of standalone or ADC files, or of its ingress controller; aigw: "
        "manifests of Envoy AI Gateway",
    )  # fmt: skip
    parser.add_argument("--no-checks", action="store_true", help="leave all active health checks out")
    parser.add_argument("files", nargs="*", metavar="FILE", help="read together; standard input if left out")
    parser.set_defaults(run=_import)


def _import(args: argparse.Namespace) -> int:
    from .importers import ImportFailed, convert

    files = []
    for name in args.files or [None]:
        with _opened(name) as source:
            files.append(source.read())
    try:
        made = convert(args.source, *files, checks=not args.no_checks)
    except ImportFailed as error:
        raise UsageError(f"{', '.join(args.files) or 'standard input'}: {error}") from None
    print(made.yaml, end="")
    print("\n".join(made.notes), file=sys.stderr)
    return 0


# ---- dialects


def _dialects(args: argparse.Namespace) -> int:
    names = list(dialects.REGISTRY)
    rows = [["client \\ upstream", *names]]
    rows += [[client, *(_direction(client, upstream) for upstream in names)] for client in names]
    print(_table(rows))
    print("\nresponses: the request's side of that pair is not translated yet\n")
    offers = [["provider", "dialect", "path", "max tokens as", "chosen"]]
    for row in PROVIDERS.values():
        for dialect, endpoint in row.dialects.items():
            chosen = "by `upstream` only" if endpoint.explicit else ""
            offers.append([row.name, dialect, endpoint.path, endpoint.max_tokens or "", chosen])
    print(_table(offers))
    return 0


def _models(args: argparse.Namespace) -> int:
    try:
        table = capabilities.load(args.capabilities or None)
    except capabilities.CapabilityError as error:
        raise UsageError(str(error)) from None
    rows = [["model", "row", "ends", "source", "seen", "can"]]
    for name in args.model or table.rows:
        prefix = name if not args.model else table.prefix(name)
        row = table.rows[prefix] if prefix is not None else capabilities.Row()
        seen = table.seen(prefix) if prefix is not None else None
        can = capabilities.told(table.find(args.provider, name))
        rows.append([name, prefix or "-", str(row.ends or "-"), row.source or "-", str(seen or "-"), can or "anything"])
    print(_table(rows))
    return 0


def _direction(client: str, upstream: str) -> str:
    if client == upstream:
        return "passes"
    if not (dialects.get(client).converses and dialects.get(upstream).converses):
        return "-"
    return "translates" if _reads_requests(client) and _writes_requests(upstream) else "responses"


def _reads_requests(name: str) -> bool:
    """Asked of the dialect itself, so that this can never be out of date."""
    try:
        dialects.get(name).parse_request(ClientCall("POST", "", [], b"{}"), LossReport())
    except ProtocolError:
        return True
    except Unsupported:
        return False
    return True


def _writes_requests(name: str) -> bool:
    request = Request(dialect=name, model="m", messages=[Message("user", "hi")])
    try:
        dialects.get(name).emit_request(request, Upstream("", ""), LossReport())
    except Unsupported:
        return False
    return True


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


# ---- the parts that run


def _demo(args: argparse.Namespace) -> int:
    from .demo import main as demo

    return demo(once=args.once)


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    settings.add_arguments(parser)
    parser.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    # Nothing but this needs gRPC, whose import takes longer than a translation.
    from .capabilities import CapabilityError
    from .server import serve

    try:
        return serve(settings.from_arguments(args))
    except (settings.SettingError, CapabilityError, OSError) as error:
        raise UsageError(str(error)) from None


def _health_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Status 0 if every address serves; without addresses, if all those of one worker do (EXTPROC_WORKERS)."
    )
    parser.add_argument("address", nargs="*", help="host:port or unix:/path; left out: EXTPROC_LISTEN, or its default")
    parser.add_argument("--timeout", type=float, default=3.0, metavar="SECONDS", help="for each address (%(default)s)")
    parser.set_defaults(run=_health)


def _health(args: argparse.Namespace) -> int:
    from .server import health

    try:
        asked = [args.address] if args.address else _plain(settings.load({}, os.environ))
    except settings.SettingError as error:
        raise UsageError(str(error)) from None
    said = {address: health.check(address, args.timeout) for addresses in asked for address in addresses}
    for address, word in said.items():
        print(f"{address} {word}")
    return 0 if any(all(said[address] == "SERVING" for address in addresses) for addresses in asked) else 1


def _plain(found: settings.Settings) -> list[list[str]]:
    """The addresses of each worker; with TLS its Unix sockets, which have none. Raises SettingError."""
    from .server import workers

    asked = workers.spread(found)
    if not found.wants_tls:
        return asked
    sockets = [[address for address in addresses if address.startswith("unix:")] for addresses in asked]
    if not all(sockets):
        raise settings.SettingError(
            "EXTPROC_TLS_CERT: the addresses speak TLS, of which this command knows nothing: add a unix:/path to "
            "EXTPROC_LISTEN, or ask /healthz of EXTPROC_ADMIN"
        )
    return sockets


def _settings(args: argparse.Namespace) -> int:
    print(_table([[item.flag, item.variable, settings.shown(item), item.about] for item in settings.ALL]))
    return 0
