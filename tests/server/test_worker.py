"""One worker as its supervisor sees it: a process with a line on its standard input."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from extproc.server.service import Service
from extproc.server.worker import FAILED, MAX_LINE_BYTES, _Supervisor
from extproc.settings import Settings
from tests.server.test_service import chunk, first, posted, response


class Supervisor:
    """The other end of a worker's line."""

    def __init__(self, *flags: str) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "extproc.server.worker", "--listen", "127.0.0.1:0", "--secrets", "*", *flags]
        self.child = subprocess.Popen(command, stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True)
        theirs.close()
        ours.settimeout(60)
        self.line = ours
        self.told = ours.makefile("rb")

    def say(self, word: str) -> None:
        self.line.sendall(word.encode() + b"\n")

    def hear(self) -> Any:
        return json.loads(self.told.readline())


@contextmanager
def worker(*flags: str) -> Iterator[Supervisor]:
    made = Supervisor(*flags)
    try:
        yield made
    finally:
        made.child.kill()
        made.child.wait()
        made.told.close()
        made.line.close()
        assert made.child.stderr is not None
        made.child.stderr.close()


def listening(supervisor: Supervisor) -> str:
    (address,) = supervisor.hear()["listening"]
    return str(address)


def test_it_says_where_it_listens_and_its_metrics_when_asked() -> None:
    with worker("--admin", "127.0.0.1:0") as one:
        host, port = listening(one).rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=30).close()
        for _ in range(2):
            one.say("metrics")
            assert "extproc_" in one.hear()["metrics"]


def test_told_to_drain_it_leaves_its_last_page_and_ends() -> None:
    with worker("--admin", "127.0.0.1:0") as one:
        listening(one)
        one.say("drain")
        assert "extproc_" in one.hear()["metrics"]
        assert one.child.wait(30) == 0


@pytest.mark.parametrize("how", ["gone", "signal"])
def test_it_ends_when_its_supervisor_is_gone_or_the_group_is_signalled(how: str) -> None:
    with worker() as one:
        listening(one)
        if how == "gone":
            one.line.shutdown(socket.SHUT_RDWR)
        else:
            one.child.send_signal(signal.SIGTERM)
        assert one.child.wait(30) == 0


def test_an_address_that_cannot_be_had_is_one_line_and_a_status_of_its_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "extproc.server.worker", "--listen", address, "--secrets", "*"]
        with ours, theirs:
            done = subprocess.run(
                command, stdin=theirs.fileno(), capture_output=True, text=True, timeout=60, check=False
            )
    assert done.returncode == FAILED
    said = [line for line in done.stderr.splitlines() if line.startswith("extproc: ")]
    assert len(said) == 1 and "Traceback" not in done.stderr, done.stderr


def test_a_process_that_it_starts_does_not_hold_the_line() -> None:
    with worker() as one:
        listening(one)
        assert os.readlink(f"/proc/{one.child.pid}/fd/0") == "/dev/null"


def test_it_shows_its_exchanges_and_its_configuration_when_asked() -> None:
    with worker("--admin", "127.0.0.1:0", "--recent-exchanges", "7") as one:
        listening(one)
        one.say("reopen")
        one.say("show 1 exchanges {}")
        one.say("show 2 config")
        told = {answer["number"]: answer["shown"] for answer in (one.hear(), one.hear())}
        assert told[1]["exchanges"] == told[1]["open"] == []
        assert told[2]["settings"]["recent_exchanges"] == 7 and told[2]["routes"] == []


def test_it_goes_on_with_other_settings_or_says_why_not() -> None:
    with worker("--admin", "127.0.0.1:0") as one:
        listening(one)
        for number, flags, why in (
            (1, ["--records-batch=7"], ""),
            (2, ["--capabilities=/none"], "/none: No such file"),
        ):
            one.say(f"reload {number} {json.dumps(flags)}")
            told = one.hear()
            assert told["number"] == number and told["shown"]["refused"].startswith(why)
            assert bool(told["shown"]["refused"]) is bool(why)
        one.say("show 3 config")
        assert one.hear()["shown"]["settings"]["records_batch"] == 7


def test_what_is_longer_than_a_line_may_be_ends_nothing() -> None:
    """The supervisor reads lines up to a bound: a longer one would be the last that it hears."""
    route = "{provider: openai, auth: none, logging: {payloads: true}}"
    most = 2 * MAX_LINE_BYTES
    service = Service(Settings(admin="127.0.0.1:0", records_payload_bytes=most, recent_bytes=most))
    session = service.open()
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    for message in (first("/v1/chat/completions", route), posted(body), response("200", "text/event-stream")):
        session.receive(message)
    # Six bytes of JSON each.
    session.receive(chunk(b": " + b"\1" * (MAX_LINE_BYTES // 6) + b"\n\n", end=False))
    session.close()

    async def asked() -> list[bytes]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        supervisor = _Supervisor(*await asyncio.open_unix_connection(sock=theirs))
        made = []
        for word in (b"show 1 exchange %d 1" % os.getpid(), b"show 2 cursor", b"show 3 exchanges {}"):
            await supervisor._show(word, service)
            made.append(await asyncio.wait_for(reader.readline(), 10))
        await supervisor.part("")
        writer.close()
        return made

    one, cursor, several = map(json.loads, asyncio.run(asked()))
    assert one == {"number": 1, "shown": None} and cursor["number"] == 2
    assert several["shown"]["exchanges"] == [] and several["shown"]["left_out"] == 1
