"""Google's token endpoint on loopback, and a service account whose key leads to it."""

from __future__ import annotations

import base64
import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TokenEndpoint:
    """Gives out ``token-1``, ``token-2`` ... for assertions that its key signed. Each is good for ``expires_in``."""

    def __init__(self, expires_in: float = 3600) -> None:
        self.expires_in = expires_in
        self.status = 200
        self.answer: bytes | None = None
        """In place of a token."""
        self.claims: list[dict[str, Any]] = []
        self.gate = threading.Event()
        """Requests wait for it."""
        self.gate.set()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.gate.wait(10)
                status, data = endpoint.respond(parse_qs(body.decode()))
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def respond(self, form: dict[str, list[str]]) -> tuple[int, bytes]:
        if self.status != 200 or self.answer is not None:
            return self.status, self.answer or b'{"error": "invalid_grant", "error_description": "not now"}'
        signed, _, signature = form["assertion"][0].rpartition(".")
        rsa_key().public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        self.claims.append(json.loads(_decoded(signed.partition(".")[2])))
        token = {"access_token": f"token-{len(self.claims)}", "expires_in": self.expires_in, "token_type": "Bearer"}
        return 200, json.dumps(token).encode()

    def key(self, email: str = "sidecar@project.iam.gserviceaccount.com", **more: Any) -> str:
        """The text of a service account's key file."""
        pem = rsa_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        info = {"type": "service_account", "client_email": email, "private_key": pem.decode(), "token_uri": self.url}
        return json.dumps(info | {"private_key_id": "k1"} | more, indent=1)

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
