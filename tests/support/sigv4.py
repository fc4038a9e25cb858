"""What AWS does with a signed request, written from its description ("Create a signed AWS API request")."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlsplit


def verified(method: str, path: str, headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether *headers*, ``host`` among them, sign this request with *secret*."""
    scheme, _, fields = headers["authorization"].partition(" ")
    given = dict(field.strip().split("=", 1) for field in fields.split(","))
    _key, date, region, service, last = given["Credential"].split("/")
    parts = urlsplit(path)
    names = given["SignedHeaders"].split(";")
    payload = hashlib.sha256(body).hexdigest()
    canonical = "\n".join(
        [
            method,
            quote(parts.path, safe="/~"),
            "&".join(sorted(parts.query.split("&"))),
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            payload,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([scheme, headers["x-amz-date"], f"{date}/{region}/{service}/{last}", digest])
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, last):
        key = hmac.new(key, part.encode(), "sha256").digest()
    made = hmac.new(key, text.encode(), "sha256").hexdigest()
    return made == given["Signature"] and headers.get("x-amz-content-sha256", payload) == payload
