"""The role before routing: it names the model in a header, so that Envoy can route by it, and answers for Envoy where
Envoy itself answers. Where the model's line in the virtual host's list names a route, it names that route in place of
the model, and translates then and there: one stream for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from ..dialects import registry
from ..dialects.base import ClientCall, Opened, encode, top_level
from ..headers import MODEL_HEADER, ROUTE_HEADER, Headers
from ..llm.events import ResponseFailed
from ..llm.failures import ErrorKind, ProtocolError, kind_of_status
from ..route import Route, RouteError, compile_route
from ..route.catalogue import EMPTY, Catalogue, read_catalogue
from ..telemetry.outcome import Outcome
from ..translation.calls import ENCODING, Call
from ..translation.translation import Translation
from .attempts import HELD
from .attributes import MODELS, OURS, ROUTES, Attributes
from .incoming import Incoming
from .machine import Answered, Refusal, Reply, Shared, Steps, clipped, log_once
from .mutations import holding, immediate, let_by, proceed, set_after_all, set_header, with_metadata
from .outgoing import BUFFERED, NONE, Mutation, Outgoing
from .phases import Kind, Phase
from .translator import Translator
from .variables import told_of_others

OWN_HEADERS: Final = frozenset({MODEL_HEADER, ROUTE_HEADER})
"""A client's own must never choose a route."""
MAX_MODEL: Final = 256
"""Characters of a model's name in the header."""


class Router(Translator):
    """Reads nothing of a request but its ``model``, and nothing of a response but whose it is; unless it translates."""

    role: ClassVar[str] = "router"

    def __init__(self, shared: Shared, refusal: Refusal | None = None) -> None:
        super().__init__(shared, refusal)
        self._model = ""
        self._nameless = False
        """The request was read, and names no model: who serves it is another's matter, unless nobody does."""
        self._prefixes: Mapping[str, str] = {}
        self._keeps = False
        """Whether what is no LLM API gets our 404, and not its own route."""
        self._spoken_to = False
        """Whether the route that Envoy has matched so far says anything to us."""
        self._variables_wanted: Sequence[str] = ()
        """What that route has the access log show by other names."""
        self._catalogue: Catalogue | None = None
        self._texts: dict[str, str] = {}
        """What the virtual host says of the routes that its list of models names."""
        self._named = ""
        """The route by which this stream translates."""
        self._opened: Opened | None = None
        """The members of the body that is translated, where they were looked at, until it is."""
        self._left = ""
        """By which key the body can be taken by who translates it."""

    def on_request(self, message: Incoming) -> Reply:
        attributes = Attributes(message)
        says = self._heard(attributes)
        self._prefixes = says.get("prefixes", {})
        self._keeps = says.get("other_paths") == "refuse"
        self._catalogue = catalogue_of(attributes)
        if self._catalogue is None or not self._catalogue.routes:
            self.response_mode = NONE
            return holding(NONE), Phase.REQUEST
        self._texts = {name: attributes.named_route(name) for name in self._catalogue.routes}
        self.original = self.came
        self.response_mode = BUFFERED
        return holding(BUFFERED), Phase.REQUEST

    def is_none_of_ours(self, message: Incoming) -> bool:
        """No API's path, and no JSON whose members could tell one."""
        if self.method in ("GET", "HEAD") and registry.listing(self.path) is not None:
            return False
        if (passes := registry.unread(self.client)) is not None:
            self._heard(Attributes(message))
            unnamed = not passes.may_name_model(ClientCall(self.method, self.path, self.came, b""))
            return unnamed or message.end_of_stream or self.is_upgrade()
        if message.end_of_stream or self.is_upgrade() or not _may_be_json(self.came):
            attributes = Attributes(message)
            return self._heard(attributes).get("other_paths") != "refuse" and self.is_elsewhere()
        return False

    def _heard(self, attributes: Attributes) -> Mapping[str, Any]:
        """What the route that Envoy has matched so far says. Raises RouteError."""
        self._spoken_to = not attributes.speechless
        says = attributes.route_says()
        self._variables_wanted = says.get("metadata", {}).get("variables", ())
        return says

    def let_by(self, kind: Kind) -> Reply:
        """Where its route speaks to us it is the one for what has no route: Envoy's own answer gets our shape."""
        own = self._clients_own()
        mutation = Mutation(own) if own else None
        answer = let_by(kind, mutation, seen=self._spoken_to)
        if self._variables_wanted:
            answer = with_metadata(answer, told_of_others(self._variables_wanted))
        return answer, Phase.LET_BY if self._spoken_to else Phase.PASSING

    def _clients_own(self) -> list[str]:
        return sorted({name for name, _ in self.came} & OWN_HEADERS)

    def without_body(self, message: Incoming) -> Answered:
        asked = registry.listing(self.path) if self.method in ("GET", "HEAD") else None
        if asked is None:
            return super().without_body(message)
        self.client = registry.asks_in(self.path, self.came)
        catalogue = catalogue_of(Attributes(message))
        if catalogue is None:
            return self.failure(ErrorKind.NOT_FOUND, f"no list of models is configured: set {MODELS}", "not_found")
        found = catalogue.find(asked) if asked else catalogue.listed
        if found is None:
            return self._unknown(catalogue, asked)
        try:
            body = registry.told(self.client, found, self.path.partition("?")[2])
        except ProtocolError as error:
            return self.refuse(ErrorKind.INVALID_REQUEST, str(error))
        return Answered(immediate(200, [("content-type", "application/json")], body, OURS + "models"), 200, "")

    def _unknown(self, catalogue: Catalogue, name: str) -> Answered:
        failed = ResponseFailed(ErrorKind.NOT_FOUND, catalogue.unknown(name), 404, "model_not_found", ours=True)
        return self.said(failed, "model_not_found")

    def on_request_body(self, message: Incoming) -> Reply | Steps:
        held = message.body
        body = self.inflated(held, self.came)
        name = self.settle(body, self._prefixes)
        if name is None:
            if self._keeps:
                raise self.not_found()
            return self.let_by(Kind.REQUEST_BODY)
        dialect, passes = registry.get(name), registry.unread(name)
        call = ClientCall(self.method, self.path, self.came, body)
        try:
            members = top_level(body) if passes is None else {}
            model = dialect.peek(self.path, members).model if passes is None else passes.model_of(call)
        except ProtocolError as error:
            raise self.refuse(ErrorKind.INVALID_REQUEST, str(error)) from None
        if not model:
            self._nameless = True
            return self._sent_on(Mutation(self._clients_own()), body, held)
        self._model = model
        found = (model, "") if self._catalogue is None else self._catalogue.find_line(model)
        if found is None:
            assert self._catalogue is not None
            raise self._unknown(self._catalogue, model)
        sent, route = found
        path = self.path
        if sent != model and passes is not None:
            call = passes.renamed(call, sent)
            path, body = call.path, call.body
        elif sent != model:
            path, changed = dialect.rename(path, members, sent)
            if changed is not members:
                members, body = changed, encode(changed)
        if route:
            opened = Opened(body, members) if passes is None else None
            return self._translated_here(route, path, body, held, opened)
        return self._routed(sent, path, body, held)

    def _routed(self, sent: str, path: str, body: bytes, held: bytes) -> Reply:
        """By the model's name, to whoever translates behind us."""
        mutation = Mutation([name for name in self._clients_own() if name != MODEL_HEADER])
        set_header(mutation, MODEL_HEADER, as_header(sent))
        if path != self.path:
            set_header(mutation, ":path", path)
        return self._sent_on(mutation, body, held)

    def _sent_on(self, mutation: Mutation, body: bytes, held: bytes) -> Reply:
        """*body* to whoever reads it next, in place of what Envoy has *held*: as plain bytes."""
        self.media, self.weighed = None, b""
        changed = body is not held
        names = {name for name, _ in self.came}
        if changed and "content-length" in names:
            set_header(mutation, "content-length", str(len(body)))
        if ENCODING in names:
            mutation.removed.append(ENCODING)
        answer = proceed(Kind.REQUEST_BODY, mutation, body if changed else None, clear_route_cache=True)
        facts = self.facts()
        if self.shared.handover is not None and (key := self.shared.handover.leave(body)):
            self._left = facts[HELD] = key
        return with_metadata(answer, facts), Phase.SENT

    def _translated_here(self, name: str, path: str, body: bytes, held: bytes, opened: Opened | None) -> Reply | Steps:
        text = self._texts[name]
        if not text:
            message = f"no route {name!r} came: set extproc.routes.{name} beside them, and ask for it in"
            raise RouteError(f"virtual host: models: {message} request_attributes: {ROUTES}['{name}']")
        self._named, self.path, self.attempt = name, path, 0
        self.route_name = name
        compiled = compile_route([text], permitted=self.shared.permitted)
        self._opened = opened
        return self.translated(compiled, body, held)

    def _translating(self, route: Route, body: bytes) -> Translation:
        translation = super()._translating(route, body)
        # Its model has been read.
        translation.is_json = True
        translation.opened, self._opened = self._opened, None
        return translation

    def send(self, call: Call, held: bytes) -> Outgoing:
        """What turns the request into *call*, and sends it by the route that the credential in it is for."""
        answer = super().send(call, held)
        assert answer.headers is not None
        # Envoy takes it away from what goes to the provider (``request_headers_to_remove``).
        set_after_all(answer.headers, ROUTE_HEADER, self._named)
        answer.clear_route_cache = True
        return answer

    def on_response_headers(self, message: Incoming) -> Reply:
        if self.translation is not None:
            return super().on_response_headers(message)
        details = self.envoys_own(message)
        if details is None and self.phase is Phase.REQUEST:
            details = "request_not_sent"
        if details is not None:
            return self.reshape(message, details)
        if self.response_mode == NONE:
            return proceed(Kind.RESPONSE_HEADERS), Phase.PASSING
        # Its body is somebody else's.
        return self.in_mode(proceed(Kind.RESPONSE_HEADERS), NONE), Phase.PASSING

    def in_our_words(self, status: int, details: str) -> ResponseFailed:
        if kind_of_status(status) is ErrorKind.NOT_FOUND and self.phase is Phase.LET_BY:
            return ResponseFailed(ErrorKind.NOT_FOUND, self.nowhere(), status, "not_found", ours=True)
        if self._named and details == "route_not_found":
            log_once(f"no route of Envoy's matches the header {ROUTE_HEADER}: {self._named}")
            return ResponseFailed(ErrorKind.API, "the gateway has no such route", status, "route_error", ours=True)
        if kind_of_status(status) is ErrorKind.NOT_FOUND and self._nameless:
            message = "model is required: a string that names one"
            return ResponseFailed(ErrorKind.INVALID_REQUEST, message, 400, "invalid_value", "model", ours=True)
        if kind_of_status(status) is ErrorKind.NOT_FOUND and self._model:
            message = (self._catalogue or EMPTY).unknown(self._model)
            return ResponseFailed(ErrorKind.NOT_FOUND, message, status, "model_not_found", ours=True)
        return super().in_our_words(status, details)

    def close(self, *, wanted: bool = True) -> Outcome:
        if self._left and self.shared.handover is not None:
            self.shared.handover.withdraw(self._left)
        return super().close(wanted=wanted)

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self._model:
            # A translator behind this filter says model_asked too, and means the name it was given.
            facts["model_asked"] = facts["model_named"] = clipped(self._model)
        return facts


def catalogue_of(attributes: Attributes) -> Catalogue | None:
    """What the virtual host says of its models, ``None`` if nothing. Raises RouteError."""
    text = attributes.text(MODELS)
    return read_catalogue(text) if text else None


def _may_be_json(headers: Headers) -> bool:
    """Whether a body with *headers* may be an API's at a path that is none's."""
    return all("json" in value.lower() for name, value in headers if name == "content-type")


def as_header(model: str) -> str:
    """A model's name as a header's value: printable ASCII, within a bound; anything else becomes ``_``."""
    return "".join(c if " " <= c <= "~" else "_" for c in model[:MAX_MODEL]).strip()
