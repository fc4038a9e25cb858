"""The sidecar alone, holding many things at once: paced streams, one large request beside them, memory.

As in sidecar.py, what Envoy sends is recorded and replayed on one connection, the sidecar on one core, its client on
another. An exchange is as shipped: one stream.
"""

from __future__ import annotations

import socket
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import machine
import payloads
import record
import replay
from extproc.demo.processes import Sidecar
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.server.h2 import frames
from extproc.server.h2.messages import prefixed
from machine import Wrong, percentile
from record import DELAYED, Script, Step
from rig import Rig
from sidecar import IN_FLIGHT, connected, on_its_core

RATE = 50.0
"""Events a second of each stream."""
LADDER = (64, 250, 500, 750, 1000, 1250, 1500, 2000)
BOUND_MS = 5.0
"""What the sidecar may add to an event at its 99th percentile."""
HOPELESS_MS = 20.0
"""When the median event is delayed so long, the core is full: more streams are not tried."""
CLIENT_BOUND_MS = 1.0
"""A client that sends later than this (99th percentile) is itself what is measured."""
BESIDE = 64
BESIDE_HANGING, HANGING, HANGING_RATE = 1000, 100, 10.0
"""Paced streams, exchanges that wait for a service that never answers, and events a second of each of the former."""
PATIENCE = 600
"""Seconds that those wait for it: longer than is measured."""
ALONE, ONE_PROCESS = ("--long-body-bytes", "0"), "one process"
"""A sidecar that answers long requests itself, and what it is called."""
Row = dict[str, Any]
Say = Callable[[str], None]


def scripts(rig: Rig) -> dict[str, Script]:
    """The recorded exchanges."""
    to = payloads.TO_OPENAI
    return record.record(
        rig,
        to,
        {
            "chat": payloads.chat(to.client, "gpt-whole"),
            "stream": payloads.chat(to.client, f"gpt-paced-{record.EVENTS}x50", stream=True),
            "large": payloads.image("gpt-whole", payloads.LARGE),
        },
    )


def paced(sidecar: Sidecar, script: Script, streams: int, seconds: float) -> Row:
    """*streams* at RATE: what the sidecar adds to an event, and what one costs it."""
    with connected(sidecar) as client:
        held = replay.Paced(client, script, streams, RATE)
        rss = machine.rss_kb(sidecar.pid)
        held.run(0.3)
        del client.delays[:], held.late[:]
        before = machine.cpu_seconds(sidecar.pid)
        sent = held.run(seconds)
        used = machine.cpu_seconds(sidecar.pid) - before
        held.close()
        delays, late = sorted(client.delays), sorted(held.late)
    return {
        "streams": streams,
        "delay_p50_ms": round(percentile(delays, 0.5) * 1e3, 3),
        "delay_p99_ms": round(percentile(delays, 0.99) * 1e3, 3),
        "late_p99_ms": round(percentile(late, 0.99) * 1e3, 3),
        "cpu_us": round(used / sent * 1e6, 1),
        "core": round(used / seconds, 2),
        "rss_kb": rss,
    }


def ladder(
    rig: Rig,
    script: Script,
    transports: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    say: Say,
    steps: Sequence[int] = LADDER,
) -> dict[str, list[Row]]:
    """How many streams a core holds: more and more of them, each round through all transports."""
    servers = {transport: on_its_core(rig.sidecar(transport)) for transport in transports}
    seen: dict[str, dict[int, list[Row]]] = {transport: {} for transport in transports}
    for number in range(rounds):
        for transport, server in servers.items():
            for streams in steps:
                row = paced(server, script, streams, seconds)
                if row["late_p99_ms"] > CLIENT_BOUND_MS and row["delay_p50_ms"] <= HOPELESS_MS:
                    # Something else had the client's core.
                    again = paced(server, script, streams, seconds)
                    row = min(row, again, key=lambda each: each["late_p99_ms"])
                seen[transport].setdefault(streams, []).append(row)
                say(
                    f"the sidecar alone, {transport}, round {number + 1} of {rounds}: {streams} streams, p99 delay "
                    f"{row['delay_p99_ms']} ms, {row['cpu_us']} us per event"
                )
                if row["delay_p50_ms"] > HOPELESS_MS:
                    break
    for server in servers.values():
        server.stop()
    return {transport: [_median(rows) for rows in found.values()] for transport, found in seen.items()}


def _median(rows: list[Row]) -> Row:
    made = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    made["delay_p99_least"] = min(row["delay_p99_ms"] for row in rows)
    made["delay_p99_most"] = max(row["delay_p99_ms"] for row in rows)
    made["holds"] = made["delay_p99_ms"] <= BOUND_MS and made["late_p99_ms"] <= CLIENT_BOUND_MS
    return made


def most(rows: list[Row]) -> int:
    """The most streams that held; none above a number that did not hold counts."""
    found = 0
    for row in sorted(rows, key=lambda row: row["streams"]):
        if not row["holds"]:
            break
        found = row["streams"]
    return found


def beside_large(
    rig: Rig, found: dict[str, Script], transport: str, seconds: float, streams: int = BESIDE, *, alone: bool = False
) -> Row:
    """Paced streams, without and with one request of 20 MB a second on the same connection. *alone*: no second process
    has those; else it shares the core."""
    server = on_its_core(rig.sidecar(transport, arguments=ALONE if alone else ()))
    row: Row = {
        "transport": f"{transport}, {ONE_PROCESS}" if alone else transport,
        "streams": streams,
        "bytes": payloads.LARGE,
    }
    with connected(server) as client:
        # The second process starts with the first one.
        replay.closed(client, found["large"].steps(0), 1, exchanges=1)
        held = replay.Paced(client, found["stream"], streams, RATE)
        held.run(0.3)
        for name, beside in (("without", ()), ("with", found["large"].steps(0))):
            del client.delays[:], held.late[:]
            held.run(seconds, beside)
            delays, late = sorted(client.delays), sorted(held.late)
            row[f"delay_p99_ms_{name}"] = round(percentile(delays, 0.99) * 1e3, 3)
            row[f"delay_max_ms_{name}"] = round(delays[-1] * 1e3, 3)
            row[f"late_p99_ms_{name}"] = round(percentile(late, 0.99) * 1e3, 3)
        held.close()
    server.stop()
    return row


@contextmanager
def hanging_service() -> Iterator[str]:
    """Where a service listens that takes everything and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=4 * HANGING) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def moderated(script: Script, endpoint: str) -> list[Step]:
    """The request of *script*, on a route whose policy asks *endpoint*: as far as it gets."""
    first, body = script.steps(0)[:2]
    data = b"".join(payload for kind, _, payload in first.frames if kind == frames.DATA)
    message = ProcessingRequest.FromString(data[5:])
    policy = f"policies: [{{moderation: {{endpoint: '{endpoint}', timeout: {PATIENCE}}}}}]\n"
    changed = 0
    for attributes in message.attributes.values():
        for name, value in attributes.fields.items():
            if "provider:" in value.string_value and "['routes']" in name:
                value.string_value = value.string_value.rstrip() + "\n" + policy
                changed += 1
    if not changed:
        raise Wrong("the recording names no route")
    heads = [frame for frame in first.frames if frame[0] == frames.HEADERS]
    asked = (*heads, (frames.DATA, 0, prefixed(message.SerializeToString())))
    return [first._replace(frames=asked), body._replace(tag=DELAYED)]


def beside_hanging(
    rig: Rig,
    found: dict[str, Script],
    transport: str,
    seconds: float,
    streams: int = BESIDE_HANGING,
    hanging: int = HANGING,
) -> Row:
    """Paced streams, without and with *hanging* exchanges on the same connection that wait for a policy's service."""
    server = on_its_core(rig.sidecar(transport, arguments=["--max-wait-seconds", str(PATIENCE)]))
    row: Row = {"transport": transport if machine.is_compiled() else f"{transport}, source", "streams": streams}
    row["hanging"] = hanging
    with hanging_service() as endpoint, connected(server) as client:
        held = replay.Paced(client, found["stream"], streams, HANGING_RATE)
        held.run(0.3)
        waiting: list[replay.Exchange] = []
        for name in ("without", "with"):
            if name == "with":
                asked = moderated(found["chat"], endpoint)
                waiting = [client.begin(asked) for _ in range(hanging)]
                held.run(0.3)
            del client.delays[:], held.late[:]
            held.run(seconds)
            delays, late = sorted(client.delays), sorted(held.late)
            row[f"delay_p50_ms_{name}"] = round(percentile(delays, 0.5) * 1e3, 3)
            row[f"delay_p99_ms_{name}"] = round(percentile(delays, 0.99) * 1e3, 3)
            row[f"late_p99_ms_{name}"] = round(percentile(late, 0.99) * 1e3, 3)
        if not all(exchange.done for exchange in waiting):
            raise Wrong("exchanges were not told to wait")
        held.close()
    server.stop()
    return row


def memory(rig: Rig, found: dict[str, Script], transport: str, *, streams: int, exchanges: int, say: Say) -> Row:
    """KB of a fresh process, with *streams* open, and its growth over *exchanges* after a warm-up of a tenth."""
    server = on_its_core(rig.sidecar(transport))
    idle = machine.rss_kb(server.pid)
    with connected(server) as client:
        steps = found["chat"].steps(0)
        replay.closed(client, steps, IN_FLIGHT, exchanges=exchanges // 10)
        warm = machine.rss_kb(server.pid)
        say(f"memory, {transport}: {idle} KB idle, {warm} KB after {exchanges // 10} exchanges; {exchanges} more")
        replay.closed(client, steps, IN_FLIGHT, exchanges=exchanges)
        grown = machine.rss_kb(server.pid)
        held = replay.Paced(client, found["stream"], streams, RATE)
        held.run(0.2)
        opened = machine.rss_kb(server.pid)
        held.close()
    server.stop()
    return {
        "transport": transport,
        "idle_kb": idle,
        "warm_kb": warm,
        "exchanges": exchanges,
        "grown_kb": grown - warm,
        "streams": streams,
        "open_kb": opened,
        "per_stream_kb": round((opened - grown) / streams, 1),
    }
