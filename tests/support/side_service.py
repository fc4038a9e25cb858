"""A service on loopback that policies ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]


class SideService:
    """Answers every request alike: with ``status``, ``headers`` and ``body``, once ``gate`` is open. ``answer`` makes
    another body of the one that was asked. A closed gate is waited at for *patience* seconds at most."""

    def __init__(self, patience: float = 20.0) -> None:
        self.status = 200
        self.headers = {"content-type": "application/json"}
        self.body = b"{}"
        self.answer: Callable[[Asked], bytes] = lambda asked: self.body
        self.asked: list[Asked] = []
        self.gate = threading.Event()
        self.gate.set()
        self.seconds = 0.0
        """Before an answer."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                names = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, names, body, self.client_address)
                service.asked.append(asked)
                service.gate.wait(patience)
                if service.seconds:
                    threading.Event().wait(service.seconds)
                answer = service.answer(asked)
                self.send_response(service.status)
                for name, value in {**service.headers, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    pass

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
