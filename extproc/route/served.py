"""Whom a policy asks: a provider's API by members that a route has, too, and how a call gets there without Envoy."""

from __future__ import annotations

from ..credentials.secrets import NotReady
from ..effects import HttpCall
from ..frozen import Frozen
from ..policy.base import Unavailable
from .route import Route


class ServedRoute(Frozen):
    """``route`` says what is asked and by which credential, ``origin`` where: scheme, host and port of a URL."""

    route: Route
    origin: str

    def call(self, path: str, body: bytes, *, seconds: float, now: float) -> HttpCall:
        """See ``policy.base.Served``."""
        route = self.route
        path, secret = route.query(path, "")
        path += f"{'&' if '?' in path else '?'}{secret}" if secret else ""
        headers = [("content-type", "application/json")]
        try:
            keys = route.credentials()
        except NotReady as error:
            raise Unavailable(str(error)) from None
        signed = [] if route.aws is None else route.aws.sign("POST", path, headers, body, now)
        return HttpCall(self.origin + path, "POST", (*headers, *keys, *signed), body, seconds, safe=True)


def origin(route: Route) -> str | None:
    """Where *route* leads, as ``ServedRoute`` has it; ``None`` where nothing says so."""
    if route.endpoint is not None:
        return f"{route.endpoint.scheme}://{route.endpoint.authority}"
    host = route.aws.host if route.aws is not None else route.provider.host_for(route.provider_conf)
    return f"https://{host}" if host else None
