from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing

import msgspec
import pytest

from extproc.telemetry import admin as module
from extproc.telemetry import live
from extproc.telemetry.admin import Admin, HttpRequest
from extproc.telemetry.ring import Look

THERE_ARE = b"there are /, /metrics, /healthz, /readyz, /exchanges, /config and /exchanges/ID\n"
GONE = b"it is not kept any more, or never was\n"


class Pages:
    def __init__(self, metrics: str = "m 1\n", unwell: str = "") -> None:
        self._metrics = metrics
        self._unwell = unwell
        self.looks = 0

    async def metrics(self) -> str:
        return self._metrics

    async def cursor(self) -> str:
        self.looks += 1
        return "1:0:0" if self.looks < 3 else "1:1:2"

    async def exchanges(self, asked: Look) -> str:
        return msgspec.json.encode(asked).decode()

    async def exchange(self, process: int, number: int) -> str:
        return '{"id": "12-3"}' if (process, number) == (12, 3) else "null"

    async def config(self) -> str:
        return '{"routes": []}'

    def unwell(self) -> str:
        return self._unwell


def ask(head: bytes, *, unwell: str = "", token: str = "", peer: str = "127.0.0.1") -> tuple[int, bytes]:
    admin = Admin(Pages(unwell=unwell), (lambda: token) if token else None)
    answer = asyncio.run(admin.answer(HttpRequest(head, peer)))
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), body


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1", 200, b"m 1\n"),
        (b"GET /metrics?x=1 HTTP/1.0", 200, b"m 1\n"),
        (b"HEAD /metrics HTTP/1.1", 200, b""),
        (b"GET /healthz HTTP/1.1", 200, b"ok\n"),
        (b"GET /readyz HTTP/1.1", 200, b"ok\n"),
        (b"POST /metrics HTTP/1.1", 405, b"GET only\n"),
        (b"GET /x HTTP/1.1", 404, THERE_ARE),
        (b"\xff\xfe", 404, THERE_ARE),
        (b"GET /exchanges/12-3 HTTP/1.1", 200, b'{"id": "12-3"}'),
        (b"GET /exchanges/12-4 HTTP/1.1", 404, GONE),
        (b"GET /exchanges/../config HTTP/1.1", 404, GONE),
        (b"GET /exchanges/" + b"9" * 99 + b"-1 HTTP/1.1", 404, GONE),
    ],
)
def test_what_is_answered(line: bytes, status: int, body: bytes) -> None:
    assert ask(line + b"\r\nhost: x\r\n\r\n") == (status, body)


@pytest.mark.parametrize(("why", "alive"), [("draining", 200), ("starting", 200), ("no worker serves", 503)])
def test_who_is_not_to_be_sent_more_need_not_be_started_anew(why: str, alive: int) -> None:
    said = f"{why}\n".encode()
    assert ask(b"GET /healthz HTTP/1.1\r\n\r\n", unwell=why) == (alive, said)
    assert ask(b"GET /readyz HTTP/1.1\r\n\r\n", unwell=why) == (503, said)


async def _converse(sent: bytes, *, others: int = 0) -> bytes:
    admin = Admin(Pages())
    address = await admin.start("127.0.0.1:0")
    host, _, port = address.rpartition(":")
    idle = [await asyncio.open_connection(host, int(port)) for _ in range(others)]
    await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        for _, other in [*idle, (reader, writer)]:
            other.close()
        admin.close()


def test_over_a_socket() -> None:
    answer = asyncio.run(_converse(b"GET /metrics HTTP/1.1\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nm 1\n")


@pytest.mark.parametrize("sent", [b"x" * 100_000, b"GET /metrics"])
def test_whoever_cannot_ask_is_not_waited_for(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    assert asyncio.run(_converse(sent)) == b""


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_slow_clients_give_way(path: str) -> None:
    asked = f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    assert asyncio.run(_converse(asked, others=module.MAX_CONNECTIONS + 8)).startswith(b"HTTP/1.1 200 OK")


def test_clients_that_do_not_read_leave_room_for_the_watchman(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)

    async def talk() -> None:
        admin = Admin(Pages("m 1\n" * 5_000_000))
        host, _, port = (await admin.start("127.0.0.1:0")).rpartition(":")
        deaf = []
        for _ in range(40):
            reader, writer = await asyncio.open_connection(host, int(port), limit=1)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            deaf.append(writer)
        await asyncio.sleep(0.2)
        assert admin._pages <= module.MAX_PAGES
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"ok\n")
        await asyncio.sleep(0.8)
        assert admin._pages == 0 and admin._open <= 1
        for each in [*deaf, writer]:
            each.close()
        admin.close()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("host", "status"),
    [("x", 200), ("127.0.0.1:9", 200), ("[::1]:9", 200), ("10.1.2.3", 200), ("localhost:1", 200),
     ("extproc.ns.svc", 200),
     ("evil.example", 403), ("evil.example:9090", 403), ("127.0.0.1.evil.example", 403)],
)  # fmt: skip
def test_no_page_of_the_web_reads_it_by_a_name_of_its_own(host: str, status: int) -> None:
    for path in ("metrics", "healthz", "readyz"):
        assert ask(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[0] == status


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", Look()), ("?since=1.5", Look(1.5)), ("?since=nan", Look()), ("?since=x&a=b", Look()),
        ("?cursor=1:2:3,4:5:6&bodies=no", Look(cursor="1:2:3,4:5:6", bodies=False)),
    ],
)  # fmt: skip
def test_what_is_asked_of_exchanges(path: str, asked: Look) -> None:
    status, body = ask(f"GET /exchanges{path} HTTP/1.1\r\n\r\n".encode())
    assert status == 200 and msgspec.json.decode(body, type=Look) == asked


def test_the_configuration() -> None:
    assert ask(b"GET /config HTTP/1.1\r\n\r\n") == (200, b'{"routes": []}')


def head_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def test_the_live_view_may_do_nothing_but_ask_its_port() -> None:
    answer = asyncio.run(Admin(Pages()).answer(HttpRequest(b"GET / HTTP/1.1\r\n\r\n", "127.0.0.1")))
    headers = head_of(answer)
    assert headers["content-security-policy"] == live.POLICY and headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY" and headers["content-type"] == "text/html; charset=utf-8"
    assert answer.partition(b"\r\n\r\n")[2] == live.PAGE.encode()


@pytest.mark.parametrize(("token", "peer", "status"), [("", "10.0.0.1", 403), ("right", "10.0.0.1", 200)])
def test_the_live_view_asks_for_the_token_itself(token: str, peer: str, status: int) -> None:
    assert ask(b"GET / HTTP/1.1\r\n\r\n", token=token, peer=peer)[0] == status


@pytest.mark.parametrize(("cursor", "looks"), [("1:0:0", 3), ("", 1)])
def test_who_waits_is_told_when_something_happens(cursor: str, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)

    async def talk() -> bytes:
        pages = Pages()
        admin = Admin(pages)
        host, _, port = (await admin.start("127.0.0.1:0")).rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /exchanges?wait=20&cursor={cursor} HTTP/1.1\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        assert pages.looks == looks and admin._waiting == 0
        writer.close()
        admin.close()
        return answer

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 200")


def test_who_waits_at_the_end_of_the_process_is_let_go_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Pages, "cursor", _stands_still)

    async def talk() -> None:
        admin = Admin(Pages())
        host, _, port = (await admin.start("127.0.0.1:0")).rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /exchanges?wait=20&cursor=1:0:0 HTTP/1.1\r\n\r\n")
        while not admin._waiting:
            await asyncio.sleep(0.001)
        admin.close()
        writer.close()

    asyncio.run(talk())
    assert not caplog.records


def test_no_more_than_a_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    monkeypatch.setattr(Pages, "cursor", _stands_still)

    async def talk() -> None:
        admin = Admin(Pages())
        host, _, port = (await admin.start("127.0.0.1:0")).rpartition(":")
        waiting = []
        for number in range(1, 3):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /exchanges?wait=20&cursor=1:0:0 HTTP/1.1\r\n\r\n")
            waiting.append(writer)
            while admin._waiting < number:
                await asyncio.sleep(0.001)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /exchanges?wait=20&cursor=1:0:0 HTTP/1.1\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
        for each in waiting:
            each.close()
        while admin._waiting:
            await asyncio.sleep(0.001)
        writer.close()
        admin.close()

    asyncio.run(asyncio.wait_for(talk(), 20))


async def _stands_still(self: Pages) -> str:
    return "1:0:0"


@pytest.mark.parametrize(
    ("peer", "status"), [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.1", 403), ("", 403)]
)
def test_without_a_token_only_this_machine_sees_what_people_said(peer: str, status: int) -> None:
    for path in ("config", "exchanges"):
        assert ask(f"GET /{path} HTTP/1.1\r\n\r\n".encode(), peer=peer)[0] == status
    assert ask(b"GET /metrics HTTP/1.1\r\n\r\n", peer=peer)[0] == 200


@pytest.mark.parametrize(
    ("said", "status"),
    [("", 401), ("authorization: Bearer wrong\r\n", 401), ("Authorization: bearer right\r\n", 200),
     ("authorization: Basic right\r\n", 401), ("authorization: right\r\n", 401)],
)  # fmt: skip
def test_with_a_token_whoever_has_it(said: str, status: int) -> None:
    for peer in ("127.0.0.1", "10.0.0.1"):
        head = f"GET /exchanges HTTP/1.1\r\n{said}\r\n".encode()
        assert ask(head, token="right", peer=peer)[0] == status
    assert ask(b"GET /metrics HTTP/1.1\r\n\r\n", token="right")[0] == 200


@pytest.mark.parametrize("transport", ["grpcio", "h2"])
def test_a_sidecar_with_an_admin_port(transport: str) -> None:
    command = [sys.executable, "-m", "extproc", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--transport", transport, "--drain-delay-seconds", "20"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    with closing(child.stderr):
        try:
            match = re.fullmatch(r"extproc admin on (127\.0\.0\.1:\d+)\n", child.stderr.readline())
            assert match is not None
            assert child.stderr.readline().startswith("extproc listens on ")
            url = f"http://{match[1]}"
            page = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()
            assert "extproc_open_streams 0" in page
            assert ("extproc_h2_connections_total 0" in page) is (transport == "h2")
            assert urllib.request.urlopen(f"{url}/readyz", timeout=5).read() == b"ok\n"
            child.send_signal(signal.SIGTERM)
            for _ in range(50):
                try:
                    urllib.request.urlopen(f"{url}/readyz", timeout=5).read()
                except urllib.error.HTTPError as error:
                    with error:
                        assert (error.code, error.read()) == (503, b"draining\n")
                    break
            else:
                pytest.fail("it never said that it drains")
        finally:
            child.kill()
            child.wait()
