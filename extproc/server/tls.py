"""TLS and mutual TLS of the ``grpcio`` transport: certificates from files, which are read anew when they change."""

from __future__ import annotations

import fnmatch
import ssl
from collections.abc import Iterable
from typing import Any

import grpc

from ..credentials.secrets import SecretFile, Unresolvable
from ..settings import SettingError, Settings, patterns


class Identity:
    """Who the server is, and whose certificates it takes. Raises SettingError for files that cannot be used."""

    def __init__(self, certificate: str, key: str, client_ca: str) -> None:
        named = [("--tls-cert", certificate), ("--tls-key", key), ("--tls-client-ca", client_ca)]
        self._files = [_opened(flag, path) for flag, path in named if path]
        self._is_mutual = bool(client_ca)
        try:
            # gRPC would take a key that is another's, and then refuse every connection.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            raise SettingError(f"--tls-cert, --tls-key: no certificate with its key: {error}") from None
        try:
            if client_ca:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            raise SettingError(f"--tls-client-ca: no certificates: {error}") from None

    def credentials(self) -> grpc.ServerCredentials:
        """For one port of gRPC's server."""
        used = self._texts()

        def changed() -> Any:
            """What is to be used from now on, ``None`` if that is what was used before. gRPC asks at each handshake."""
            nonlocal used
            if (texts := self._texts()) == used:
                return None
            used = texts
            return _configuration(texts)

        first = _configuration(used)
        return grpc.dynamic_ssl_server_credentials(first, changed, require_client_authentication=self._is_mutual)

    def _texts(self) -> list[str]:
        return [file.read() for file in self._files]


def _configuration(texts: list[str]) -> grpc.ServerCertificateConfiguration:
    certificate, key, *roots = (f"{text}\n".encode() for text in texts)
    return grpc.ssl_server_certificate_configuration([(key, certificate)], *roots)


def identity(settings: Settings) -> Identity | None:
    """What *settings* say of TLS, ``None`` if nothing. Raises SettingError."""
    if not settings.wants_tls:
        return None
    if not (settings.tls_cert and settings.tls_key):
        raise SettingError("--tls-cert and --tls-key go together, and --tls-client-ca with both")
    if settings.tls_client_names and not settings.tls_client_ca:
        raise SettingError("--tls-client-names needs --tls-client-ca: nobody else shows a name")
    if settings.transport != "grpcio":
        raise SettingError(f"--tls-cert needs --transport grpcio: {settings.transport} does not speak TLS")
    return Identity(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def is_known(names: Iterable[str], wanted: str) -> bool:
    """Whether one of a client's *names* is among *wanted*, as ``--tls-client-names`` has them; anybody is if that is
    empty."""
    among = patterns(wanted)
    return not among or any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in among)


def _opened(flag: str, path: str) -> SecretFile:
    try:
        return SecretFile(path, lines=True)
    except Unresolvable as error:
        raise SettingError(f"{flag}: {error}") from None
