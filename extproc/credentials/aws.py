"""AWS keys, and requests signed with them (Signature Version 4) by botocore's signer.

Keys come from the route, from a shared credentials file, or from the environment. Those that must be fetched (of an
instance's or a pod's role) are Envoy's matter: its ``aws_request_signing`` filter, after ours.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..frozen import Frozen
from .secrets import MASK, Secret, SecretFile, Unresolvable, sound

log = logging.getLogger(__name__)

SERVICE = "bedrock"
"""The name that requests to Bedrock's runtime are signed for."""
_TIMESTAMP = "%Y%m%dT%H%M%SZ"


class Keys(Frozen):
    """By the names that botocore's signer reads them."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({MASK})"


class AwsAuth:
    """``auth.aws`` of a route, for the upstream *host*. Raises Unresolvable when botocore is not installed."""

    def __init__(self, keys: Callable[[], Keys], region: str, service: str, host: str) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise Unresolvable("needs the package botocore: pip install 'extproc-llm[aws]'")
        self.host = host
        self._keys = keys
        self._region = region
        self._service = service
        self._auth: Any = importlib.import_module("botocore.auth")
        self._request: Any = importlib.import_module("botocore.awsrequest").AWSRequest
        keys()

    def __repr__(self) -> str:
        return f"AwsAuth({self._region!r}, {self._service!r}, {self.host!r})"

    def shown(self) -> list[str]:
        """What a signed request shows of the keys."""
        keys = self._keys()
        return [keys.access_key, keys.token] if keys.token else [keys.access_key]

    def sign(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes, now: float
    ) -> list[tuple[str, str]]:
        """The headers to add to a request, lower-case names. *path* is as it is sent, query and all; *now* in Unix
        seconds.

        Signed are host, date, token, body and, of *headers*, the content type alone: Envoy may still change the others.
        """
        keys = self._keys()
        signed = {name: value for name, value in headers if name == "content-type"}
        request = self._request(method, f"https://{self.host}{path}", {**signed, "host": self.host}, body)
        request.context["timestamp"] = datetime.fromtimestamp(now, UTC).strftime(_TIMESTAMP)
        signer = self._auth.SigV4Auth(keys, self._service, self._region)
        request.headers["x-amz-date"] = request.context["timestamp"]
        if keys.token:
            request.headers["x-amz-security-token"] = keys.token
        # What ``add_auth`` does, but at the time that we are told, and without a word of it in the log.
        text = signer.string_to_sign(request, signer.canonical_request(request))
        names = signer.signed_headers(signer.headers_to_sign(request))
        parts = (
            f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}",
            f"SignedHeaders={names}",
            f"Signature={signer.signature(text, request)}",
        )
        added = [("authorization", ", ".join(parts)), ("x-amz-date", request.context["timestamp"])]
        return [*added, ("x-amz-security-token", keys.token)] if keys.token else added


def static_keys(access_key_id: Secret, secret_access_key: Secret, session_token: Secret | None) -> Callable[[], Keys]:
    """Keys that the route names."""

    def keys() -> Keys:
        token = session_token.reveal() if session_token else None
        return Keys(access_key_id.reveal(), secret_access_key.reveal(), token)

    return keys


def environment_keys(environ: Mapping[str, str]) -> Callable[[], Keys] | None:
    """Keys of the environment's variables; ``None`` if there are none."""
    access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        return None
    sound(access, "environment variable AWS_ACCESS_KEY_ID")
    sound(secret, "environment variable AWS_SECRET_ACCESS_KEY")
    token = environ.get("AWS_SESSION_TOKEN") or None
    found = Keys(access, secret, sound(token, "environment variable AWS_SESSION_TOKEN") if token else None)
    return lambda: found


def home(environ: Mapping[str, str]) -> Path:
    """The home of whom this process belongs to: the root, if nobody knows of one."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return Path("/")


def shared_file(environ: Mapping[str, str]) -> str:
    """Where the shared credentials file is, unless the route says."""
    return environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(home(environ) / ".aws" / "credentials")


class FileKeys:
    """Keys of a profile in a shared credentials file, read again when it changes; what is no longer right there leaves
    the last good ones in force. Raises Unresolvable."""

    def __init__(self, path: str, profile: str) -> None:
        self._file = SecretFile(path, lines=True)
        self._profile = profile
        self._text = self._file.read()
        self._found = _profile_keys(self._text, path, profile)

    def __call__(self) -> Keys:
        text = self._file.read()
        if text is not self._text:
            self._text = text
            try:
                self._found = _profile_keys(text, self._file.path, self._profile)
            except Unresolvable as error:
                log.warning("kept the last good AWS keys: %s", error)
        return self._found

    def __repr__(self) -> str:
        return f"FileKeys({self._file.path!r}, {self._profile!r})"


def _profile_keys(text: str, path: str, profile: str) -> Keys:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        raise Unresolvable(f"file {path!r} is no credentials file", transient=True) from None
    if not parser.has_section(profile):
        raise Unresolvable(f"file {path!r} has no profile {profile!r}", transient=True)
    found = parser[profile]
    values = [found.get(f"aws_{name}", "") for name in ("access_key_id", "secret_access_key", "session_token")]
    for name, value in zip(("access_key_id", "secret_access_key", "session_token"), values, strict=True):
        try:
            if value or name != "session_token":
                sound(value, f"file {path!r}: aws_{name} of profile {profile!r}")
        except Unresolvable as error:
            raise Unresolvable(str(error), transient=True) from None
    return Keys(values[0], values[1], values[2] or None)
