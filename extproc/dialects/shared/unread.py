"""What dialects of an API's other endpoints have in common (``PassesUnread``): requests pass unread, of answers the
usage is looked for. Derived from in packages' own files, so it is not compiled either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ...headers import Headers
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import Asked, ClientCall, Operation, ResponseHead, Upstream, UpstreamCall
from .embeds import NoConversation
from .passed_usage import EndpointParser


class Unread(NoConversation):
    """The rest of one API. It has no words for what passes."""

    api: ClassVar[re.Pattern[str]]
    """How the path of an upstream ends where the operator has written that of another of its APIs: see ``api_root``."""

    def split(self, path: str) -> tuple[str, str, str]:
        """What stands before the API in a client's *path*, the endpoint's name, and the path from there on without the
        query; all empty where it is no endpoint's."""
        raise NotImplementedError

    def endpoint(self, path: str) -> str:
        return self.split(path)[1]

    def prefix(self, path: str) -> str:
        return self.split(path)[0]

    def api_root(self, upstream: str, path: str) -> str:
        """What stands before what a client asks for at *path*, in *upstream*, the path of an API without its query."""
        return self.api.sub("", upstream)

    def place(self, upstream: Upstream, path: str, model: str) -> str:
        bare, mark, query = upstream.path.partition("?")
        at = Upstream(upstream.provider, f"{self.api_root(bare, path)}/{self.split(path)[2]}{mark}{query}")
        return at.at(Asked(model))

    def speaks(self, path: str, headers: Headers) -> bool:
        """Whether a request at *path*, one of its own, with *headers* is of this API, where others have that path as
        well."""
        return True

    def operation(self, path: str) -> Operation:
        return Operation.ELSE

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> EndpointParser:
        return EndpointParser(call, head, limits, losses)

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        return Asked(operation=Operation.ELSE)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        raise Unsupported("", "it can only be answered by an upstream that has this endpoint")

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        raise Unsupported("", "it holds no conversation")


def is_inside(rest: str) -> bool:
    """Whether the path *rest* stays below what it is put behind."""
    return not any(segment in (".", "..") for segment in rest.split("/"))
