"""What carrying the messages costs: CPU of the server process per exchange of four messages that does nothing.

    python bench/transport_noop.py [--envoy envoy] [--exchanges 20000] [--rounds 3] [--streams 16]

Each transport runs in a process of its own; rounds are interleaved; medians are printed. Without ``--envoy`` the client
is a hand-written one that speaks HTTP/2 over one connection, as one Envoy worker does; with it, requests go through a
real Envoy (the path of its binary) that answers by itself. Ratios matter, not figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.shell import H2Listener

PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
TRANSPORTS = ("h2", "grpcio")
TICKS = os.sysconf("SC_CLK_TCK")


# ---- the servers, which do nothing


def answer(request: ProcessingRequest) -> ProcessingResponse:
    kind = request.WhichOneof("request")
    response = ProcessingResponse()
    getattr(response, kind).SetInParent()
    return response


class Nothing:
    def receive(self, message: bytes) -> Sequence[bytes]:
        return (answer(ProcessingRequest.FromString(message)).SerializeToString(),)

    def close(self) -> None:
        pass


async def serve_h2() -> None:
    listener = H2Listener({PROCESS: lambda head, outlet: Nothing()}, H2Limits(), Counters())
    print(await listener.listen("127.0.0.1:0"), flush=True)
    await asyncio.Event().wait()


async def serve_grpcio() -> None:
    import grpc
    import grpc.aio

    async def process(requests: Any, call: Any) -> Any:
        async for request in requests:
            yield answer(request)

    handler = grpc.stream_stream_rpc_method_handler(
        process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
    )
    server = grpc.aio.server()
    service, _, method = PROCESS[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


# ---- the client that is not Envoy


def four_messages() -> list[bytes]:
    """What Envoy sends for a 1 KB chat with a whole answer."""
    messages = [ProcessingRequest() for _ in range(4)]
    for name, value in [(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "127.0.0.1:10000")] + [
        (f"x-header-{n}", "v" * 24) for n in range(9)
    ]:
        messages[0].request_headers.headers.headers.add(key=name, raw_value=value.encode())
    messages[1].request_body.body = b"x" * 1024
    messages[1].request_body.end_of_stream = True
    for n in range(8):
        messages[2].response_headers.headers.headers.add(key=f"x-header-{n}", raw_value=b"v" * 24)
    messages[3].response_body.body = b"x" * 600
    messages[3].response_body.end_of_stream = True
    return [prefixed(each.SerializeToString()) for each in messages]


class Client(asyncio.Protocol):
    """Keeps ``streams`` exchanges in flight on one connection until ``total`` are done."""

    HEAD = block(
        (":method", "POST"), (":scheme", "http"), (":path", PROCESS), (":authority", "extproc"), ("te", "trailers"),
        ("content-type", "application/grpc"), ("x-envoy-internal", "true"),
    )  # fmt: skip

    def __init__(self, streams: int, total: int) -> None:
        self.streams, self.left, self.open = streams, total, 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reader = frames.FrameReader()
        self.messages = four_messages()
        self.sent: dict[int, int] = {}
        self.next_id = 1
        self.started = False
        self.credit = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        settings = {frames.INITIAL_WINDOW_SIZE: 2**20, frames.HEADER_TABLE_SIZE: 0}
        transport.write(frames.PREFACE + frames.settings(settings) + frames.window_update(0, 2**30))

    def data_received(self, data: bytes) -> None:
        out: list[bytes] = []
        for kind, flags, stream_id, payload in self.reader.feed(data):
            if kind == frames.DATA:
                self.credit += len(payload)
                self._advance(stream_id, out)
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                del self.sent[stream_id]
                self._start(out)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                out.append(frames.frame(frames.SETTINGS, frames.ACK))
            elif kind == frames.SETTINGS:
                for _ in range(self.streams):
                    self._start(out)
            elif kind == frames.PING and not flags & frames.ACK:
                out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            elif kind == frames.GOAWAY or (kind == frames.RST_STREAM and stream_id in self.sent):
                self.done.set_exception(ConnectionError(payload.decode("latin-1")))
        if self.credit > 2**20:
            out.append(frames.window_update(0, self.credit))
            self.credit = 0
        if out:
            self.transport.write(b"".join(out))
        if not self.left and not self.sent and not self.done.done():
            self.done.set_result(None)

    def _start(self, out: list[bytes]) -> None:
        if not self.left:
            return
        self.left -= 1
        stream_id, self.next_id = self.next_id, self.next_id + 2
        head = self.HEAD if self.started else EMPTY_TABLE + self.HEAD
        self.started = True
        self.sent[stream_id] = 1
        out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, head))
        out.append(frames.frame(frames.DATA, 0, stream_id, self.messages[0]))

    def _advance(self, stream_id: int, out: list[bytes]) -> None:
        number = self.sent[stream_id]
        if number < 4:
            self.sent[stream_id] = number + 1
            out.append(frames.frame(frames.DATA, 0, stream_id, self.messages[number]))
        else:
            out.append(frames.frame(frames.DATA, frames.END_STREAM, stream_id))


async def run_client(address: str, streams: int, exchanges: int) -> None:
    host, _, port = address.rpartition(":")
    transport, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(streams, exchanges), host, int(port)
    )
    await client.done
    transport.close()


# ---- the client behind Envoy

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: "{answer}"}}}}}}]
          http_filters:
          - name: extproc
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              message_timeout: 5s
              processing_mode: {{request_body_mode: BUFFERED, response_body_mode: BUFFERED}}
              grpc_service: {{envoy_grpc: {{cluster_name: extproc}}}}
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: extproc
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: extproc
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}}}]
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
"""


class Envoy:
    """A real one, with one worker, in front of a server."""

    def __init__(self, binary: str, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name, "envoy.yaml")
        config.write_text(ENVOY.format(answer="x" * 600, host=host, port=port))
        admin = Path(self._folder.name, "admin")
        command = [binary, "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
        self._process = subprocess.Popen([*command, "--admin-address-path", str(admin)])
        self.address = self._wait(admin)

    def _wait(self, admin: Path) -> str:
        import json
        import urllib.request

        for _ in range(200):
            time.sleep(0.05)
            if admin.exists() and admin.read_text():
                with urllib.request.urlopen(f"http://{admin.read_text()}/listeners?format=json") as reply:
                    listeners = json.load(reply).get("listener_statuses", [])
                if listeners:
                    return f"127.0.0.1:{listeners[0]['local_address']['socket_address']['port_value']}"
        raise TimeoutError("Envoy did not start")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


async def run_http(address: str, connections: int, exchanges: int) -> None:
    host, _, port = address.rpartition(":")
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-length: 1024\r\n\r\n" + b"x" * 1024

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(count):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.decode("latin-1"))
            await reader.readexactly(600)
        writer.close()

    await asyncio.gather(*(one(exchanges // connections) for _ in range(connections)))


# ---- measuring


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def install_uvloop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run(coroutine: Any) -> None:
    with asyncio.Runner(loop_factory=install_uvloop()) as runner:
        runner.run(coroutine)


def measure(address: str, pid: int, args: argparse.Namespace) -> tuple[float, float]:
    """(CPU microseconds of the server per exchange, exchanges per second)."""
    client = run_http if args.envoy else run_client
    run(client(address, args.streams, args.exchanges // 10))
    before, started = cpu_seconds(pid), time.perf_counter()
    run(client(address, args.streams, args.exchanges))
    took, used = time.perf_counter() - started, cpu_seconds(pid) - before
    return used / args.exchanges * 1e6, args.exchanges / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=TRANSPORTS, help=argparse.SUPPRESS)
    parser.add_argument("--envoy", default="", help="the path of an Envoy binary")
    parser.add_argument("--exchanges", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=16, help="exchanges in flight")
    args = parser.parse_args()
    if args.serve:
        run(serve_h2() if args.serve == "h2" else serve_grpcio())
        return
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in TRANSPORTS}
    servers, envoys, addresses = {}, [], {}
    try:
        for name in TRANSPORTS:
            command = [sys.executable, __file__, "--serve", name]
            servers[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            addresses[name] = servers[name].stdout.readline().strip()  # type: ignore[union-attr]
            if args.envoy:
                envoys.append(Envoy(args.envoy, addresses[name]))
                addresses[name] = envoys[-1].address
        for _ in range(args.rounds):
            for name in TRANSPORTS:
                results[name].append(measure(addresses[name], servers[name].pid, args))
    finally:
        for envoy in envoys:
            envoy.close()
        for server in servers.values():
            server.terminate()
    report(args, results)


def report(args: argparse.Namespace, results: dict[str, list[tuple[float, float]]]) -> None:
    packages = ", ".join(f"{name} {version(name)}" for name in ("grpcio", "protobuf", "hpack", "uvloop"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; Python {platform.python_version()}, {packages}")
    client = "real Envoy" if args.envoy else "hand-written client"
    print(f"{client}, {args.streams} in flight, {args.exchanges} exchanges, {args.rounds} rounds; medians (least-most)")
    for name in TRANSPORTS:
        costs, rates = zip(*results[name], strict=True)
        cost = f"{statistics.median(costs):6.1f} us of CPU per exchange ({min(costs):.0f}-{max(costs):.0f})"
        print(f"{name:7} {cost}, {statistics.median(rates):7.0f} exchanges/s")


if __name__ == "__main__":
    main()
