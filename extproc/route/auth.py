"""A route's ``auth``, from what was written to what is sent: references resolved, signers and token sources made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..credentials.aws import SERVICE, AwsAuth, FileKeys, Keys, environment_keys, shared_file, static_keys
from ..credentials.gcp import EXPIRE_EARLY_SECONDS, GcpAuth
from ..credentials.permitted import EVERYTHING, Permitted
from ..credentials.secrets import Secret, Unresolvable, permit, resolve
from ..frozen import Frozen
from ..providers import Provider
from .text import RouteError

T = TypeVar("T")
SecretPairs = tuple[tuple[str, Secret], ...]


class Credentials(Frozen):
    """Who we are to an upstream."""

    headers: SecretPairs = ()
    query: SecretPairs = ()
    gcp: GcpAuth | None = None
    aws: AwsAuth | None = None


class Secrets:
    """Resolves what a route refers to. *error* makes the news of what is wrong at a path."""

    def __init__(
        self,
        environ: Mapping[str, str],
        error: Callable[[str, str], RouteError],
        permitted: Permitted = EVERYTHING,
    ) -> None:
        self.environ = environ
        self.permitted = permitted
        self.error = error

    def get(self, path: str, text: str, *, lines: bool = False) -> Secret:
        """*text*, which stands at *path*, resolved. Raises RouteError."""
        return self.made(path, lambda: resolve(text, self.environ, lines=lines, permitted=self.permitted))

    def permit(self, path: str, name: str) -> None:
        """Raise RouteError about *path* unless the variable or file *name* may be read."""
        self.made(path, lambda: permit(name, self.permitted))

    def made(self, path: str, make: Callable[[], T]) -> T:
        """What *make* makes; its Unresolvable as a RouteError about *path*."""
        try:
            return make()
        except Unresolvable as error:
            found = self.error(path, str(error))
            found.transient = error.transient
            raise found from None


def credentials(
    auth: Mapping[str, Any], provider: Provider, authority: str | None, conf: Mapping[str, str], secrets: Secrets
) -> Credentials:
    """What *auth* says. *authority* is the host of ``override.endpoint``, *conf* the ``provider_conf``.
    Raises RouteError."""
    headers = [(k.lower(), secrets.get(f"auth.header.{k}", v)) for k, v in auth.get("header", {}).items()]
    query = [(k, secrets.get(f"auth.query.{k}", v)) for k, v in auth.get("query", {}).items()]
    for name, value in headers:
        if not value.reveal().isascii():
            raise secrets.error(f"auth.header.{name}", "the value holds characters that a header cannot carry")
    gcp = _gcp(auth["gcp"], secrets) if "gcp" in auth else None
    aws = _aws(auth["aws"], provider, authority, conf, secrets) if "aws" in auth else None
    return Credentials(tuple(headers), tuple(query), gcp, aws)


def _gcp(given: Mapping[str, Any], secrets: Secrets) -> GcpAuth:
    path = "auth.gcp.service_account_json"
    key = secrets.get(path, given.get("service_account_json", "${GCP_SERVICE_ACCOUNT}"), lines=True)
    early = given.get("expire_early_secs", EXPIRE_EARLY_SECONDS)
    return secrets.made(path, lambda: GcpAuth(key, given.get("max_ttl"), early))


def _aws(
    given: Mapping[str, str], provider: Provider, authority: str | None, conf: Mapping[str, str], secrets: Secrets
) -> AwsAuth:
    environ = secrets.environ
    region = _text(given, "region", secrets) or conf.get("region")
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise secrets.error("auth.aws.region", "give one, here, in provider_conf or as AWS_REGION")
    host = authority or provider.host_in(region)
    if not host:
        raise secrets.error("auth.aws", "the host is part of what is signed; give override.endpoint")
    service = _text(given, "service", secrets) or SERVICE
    keys = _keys(given, secrets)
    return secrets.made("auth.aws", lambda: AwsAuth(keys, region, service, host))


def _keys(given: Mapping[str, str], secrets: Secrets) -> Callable[[], Keys]:
    named = [name for name in ("access_key_id", "secret_access_key") if given.get(name)]
    if len(named) == 1:
        raise secrets.error("auth.aws", "access_key_id and secret_access_key go together")
    if named:
        token = given.get("session_token")
        return static_keys(
            secrets.get("auth.aws.access_key_id", given["access_key_id"]),
            secrets.get("auth.aws.secret_access_key", given["secret_access_key"]),
            secrets.get("auth.aws.session_token", token) if token else None,
        )
    file, profile = _text(given, "credentials_file", secrets), _text(given, "profile", secrets)
    if not file and not profile:
        found = secrets.made("auth.aws", lambda: environment_keys(secrets.environ))
        if found is not None:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                secrets.permit("auth.aws", name)
            return found
    if file or secrets.permitted.patterns is not None:
        secrets.permit("auth.aws.credentials_file", file or shared_file(secrets.environ))
    file = file or shared_file(secrets.environ)
    profile = profile or secrets.environ.get("AWS_PROFILE") or "default"
    return secrets.made("auth.aws", lambda: FileKeys(file, profile))


def _text(given: Mapping[str, str], name: str, secrets: Secrets) -> str:
    text = given.get(name)
    return secrets.get(f"auth.aws.{name}", text).reveal() if text else ""
