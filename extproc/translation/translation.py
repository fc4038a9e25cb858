"""One exchange without Envoy: a client's request to the upstream's, the upstream's answer to the client's.

The one choice between translating and passing through is made here. No dialect is named.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from .. import capabilities as capability_data
from .. import providers
from ..credentials.masking import mask_of
from ..credentials.secrets import NotReady
from ..dialects import registry
from ..dialects.base import (
    NO_TRAITS,
    Asked,
    AsksForCounts,
    AsksForVectors,
    ClientCall,
    CountsTokens,
    Dialect,
    Env,
    GivesCounts,
    GivesVectors,
    Headers,
    Opened,
    Operation,
    PassesUnread,
    ResponseHead,
    Undo,
    Upstream,
    UpstreamCall,
    encode,
    is_stream,
    top_level,
)
from ..dialects.shared.estimate import estimate
from ..dialects.shared.relay import edited, edited_inputs
from ..effects import Effect, Result, unassisted
from ..framing.inflate import InflateError
from ..frozen import same
from ..headers import upstream_headers
from ..llm.embeddings import EmbedRequest
from ..llm.embeddings import remembered as remembered_inputs
from ..llm.events import ResponseFailed, Usage
from ..llm.failures import ErrorKind, ProtocolError, Unsupported, kind_of_status
from ..llm.kept import CODE as TOO_LARGE
from ..llm.losses import Loss, LossReport
from ..llm.request import Request, remembered
from ..llm.weight import NO_BOUND, is_heavier
from ..policy.base import Context, Deny
from ..policy.chain import Chain
from ..route import Route, RouteError, Target, compile_route
from ..settings import Limits
from .asking import ModelAsker
from .calls import (
    TOO_HEAVY,
    Answer,
    Call,
    CallCredentials,
    Refused,
    not_inflated,
    plain_body,
    refused,
    render_error,
    without_encoding,
)
from .carried import UnreadMedia, found, is_json
from .counted import Counted, Instead
from .course import Course, OutOfOrder, Progress
from .embedded import Embedded
from .response import INTERNAL, Broken, Passed, Policed, Response, Translated

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Request | EmbedRequest)

REPORT_HEADER: Final = "x-llm-translation"
MAX_REPORT_BYTES: Final = 2048
ESTIMATED = (REPORT_HEADER, "input_tokens:estimated")
NOT_THERE: Final = frozenset({404, 405, 501})
"""How servers say that they have no such endpoint."""
NOTHING_USED: Final = Usage(0, 0)
"""By a request that no model has seen."""
_UNSAFE_IN_REPORT: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]")

PIECE_BYTES: Final = 16
"""What a piece of an answer takes on its way beside its bytes, in HTTP/1.1's chunks or HTTP/2's frames."""

_NUMBERS: Final = frozenset({type(None), bool, int, float})


class _NotCarried(Exception):
    """Of what was taken out of a request, not all has come to its place as it was."""


class Translation(Course):
    """One exchange. Call ``request`` once, then ``response_head`` once, then ``response_body`` until ``end_of_stream``.

    *client* and *upstream* are dialect names; left out, the client's is detected from the request and the upstream's is
    the route's. *route* is the mapping that Envoy's metadata carries, or a compiled one. *now* is Unix seconds; *clock*
    tells the time again when the first content comes.
    The constructor raises RouteError, ``request`` raises Refused; but for OutOfOrder, which a caller that keeps to the
    order never sees, nothing else raises.
    """

    def __init__(
        self,
        client: str | None = None,
        upstream: str | None = None,
        *,
        route: Mapping[str, Any] | Route | None = None,
        now: float | None = None,
        request_id: str = "",
        limits: Limits | None = None,
        capabilities: capability_data.CapabilityTable | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(clock)
        self.route = _route(route, upstream)
        self.client = client or self.route.client
        self.upstream = upstream
        self._route_chooses = upstream is None
        """The route says in which API the upstream is asked, not the caller."""
        for name in (self.client, upstream):
            if name is not None:
                registry.get(name)
        self.limits = limits or Limits()
        self.head = ResponseHead(0)
        self._capabilities = capabilities or capability_data.packaged()
        self._env = Env(time.time() if now is None else now, request_id)
        self.traits = NO_TRAITS
        """What the client's request offers and for whom, where the route has it told."""
        self.operation = Operation.ANSWER
        """What the client's request asks for."""
        self._asked = Asked()
        self._unasked = False  # the upstream tells the counts, and the client has not asked for them
        self._call: UpstreamCall | None = None
        self._chain: Chain | None = None
        self._read: Request | None = None
        """The client's request as the policies left it, where there are any."""
        self._to_count: Request | None = None
        """What tokens are to be counted of, where policies have changed it."""
        self._embedding: EmbedRequest | None = None
        """The client's request for vectors, as far as its answer is written by it."""
        self.is_json = False
        """Whoever asks for ``request`` has seen that the body is a JSON object."""
        self.media: UnreadMedia | None = None
        """What can be carried of the body, if that is JSON: whoever asks for ``request`` may have found it."""
        self.looked_at = b""
        """The body in which it was looked for."""
        self.opened: Opened | None = None
        """The members of the body, where whoever asks for ``request`` has looked at them."""
        self._carried: UnreadMedia | None = None
        """What was taken out of the request that is being made."""
        self._estimated = b""
        """What the client is told if the upstream cannot count."""
        self._request_losses = 0
        self._reported = ""
        self._response: Response | None = None
        self._received = 0
        self.most_told = NO_BOUND
        """Bytes of the answer that may go to the client."""
        self._told_bytes = 0
        most = self.route.max_response_bytes
        self._most_received = NO_BOUND if most is None else most
        self._begun = b""
        """The end of what came for the client, which may be the beginning of a secret of ours."""
        self._sent: Headers = []
        self.kept = 0
        """Bytes, about, that are kept of the request until the answer has ended."""

    # ---- the request

    def request(
        self, body: bytes, method: str = "POST", path: str = "", headers: Headers | None = None
    ) -> Call | Answer:
        """The request for the upstream, or what the client is answered without one. *headers* are pairs with lower-case
        names. A policy of the route's that would ask another service gets no answer: for that, ``requesting``. Raises
        Refused, RouteError."""
        if self.route.policies:
            return unassisted(self.requesting(body, method, path, headers))
        return self._requested(self._plain(ClientCall(method, path, headers or [], body, self.opened)))

    def requesting(
        self, body: bytes, method: str = "POST", path: str = "", headers: Headers | None = None
    ) -> Generator[Effect, Result, Call | Answer]:
        """The same as ``request``, in steps: it yields what policies of the route ask for, and is sent the results."""
        call = self._plain(ClientCall(method, path, headers or [], body, self.opened))
        if self.route.policies:
            client, _ = self._settle(call)
            try:
                judged = yield from self._judged(client, call)
            except Exception as error:
                self.state = Progress.ANSWERED
                raise self._refusal(client, error) from None
            if isinstance(judged, Answer):
                self.state = Progress.ANSWERED
                return judged
            call = judged
        return self._requested(call)

    def _judged(self, client: Dialect, call: ClientCall) -> Generator[Effect, Result, ClientCall | Answer]:
        """*call* as the policies want it, or the answer in its stead."""
        if registry.unread(client.name) is not None:
            # None can look at it, though it be read for the model's name: the route serves it or does not.
            return call
        self._check_size(client, call)
        facts: dict[str, Any] = {}
        who = (client.name, self.upstream or "", self.route.provider.name, self._env.request_id, self._env.now)
        models = ModelAsker(self._aside, self.limits)
        self._chain = chain = Chain(self.route.policies, Context(*who, self.losses, facts, models))
        if client.operation(call.path) is Operation.COUNT:
            return (yield from self._judged_count(client, call, chain))
        if not client.converses:
            return (yield from self._judged_inputs(client, call, chain))
        body = yield from chain.on_body(call.body)
        if isinstance(body, Deny):
            return self._erred(client, body)
        if body is not call.body:
            self.is_json = False
            call = replace(call, body=body)
            self._check_size(client, call)
        request = self._to_judge(chain, call, lambda asked: client.parse_request(asked, LossReport()))
        if request is None:
            return call
        judged = yield from chain.on_request(request)
        if isinstance(judged, Deny):
            return self._denied(client, request, judged)
        self._read = judged
        if judged is request or same(judged, request):
            return call
        return replace(call, body=edited(client, call, request, judged, self.losses))

    def _judged_count(
        self, client: Dialect, call: ClientCall, chain: Chain
    ) -> Generator[Effect, Result, ClientCall | Answer]:
        """The same for a request for the number of its tokens."""
        if not chain.only_counting():
            return call
        if not isinstance(client, AsksForCounts):
            chain.unread(Unsupported("", f"this route's policies cannot look at counts of {client.name}"))
            return call
        request = self._to_judge(chain, call, client.parse_count)
        if request is None:
            return call
        judged = yield from chain.on_request(request)
        if isinstance(judged, Deny):
            return self._erred(client, judged)
        if not same(judged, request):
            self._to_count = judged
        return call

    def _judged_inputs(
        self, client: Dialect, call: ClientCall, chain: Chain
    ) -> Generator[Effect, Result, ClientCall | Answer]:
        """The same for a request for vectors."""
        if not chain.only_embedding():
            return call
        asks = registry.ASK_FOR_VECTORS.get(client.name)
        if asks is None:
            chain.unread(Unsupported("", f"this route's policies cannot look at requests of {client.name}"))
            return call
        request = self._to_judge(chain, call, lambda asked: asks.parse_embed(asked, LossReport()))
        if request is None:
            return call
        judged = yield from chain.on_embed(request)
        if isinstance(judged, Deny):
            return self._erred(client, judged)
        return call if judged is request else replace(call, body=edited_inputs(call, request, judged))

    def _to_judge(self, chain: Chain, call: ClientCall, read: Callable[[ClientCall], R]) -> R | None:
        """What the policies are to look at; ``None`` where it cannot be read, and goes on without that."""
        try:
            request = read(call)
        except (ProtocolError, Unsupported) as error:
            chain.unread(error)
            return None
        self.model_asked = request.model
        return request

    def _aside(self, client: str, route: Route) -> Translation:
        """An exchange beside this one, for what a policy asks a model."""
        env, limits, known = self._env, self.limits, self._capabilities
        return Translation(
            client, route=route, now=env.now, request_id=env.request_id, limits=limits, capabilities=known
        )

    def _denied(self, client: Dialect, request: Request, deny: Deny) -> Answer:
        if deny.status >= 400:
            return self._erred(client, deny)
        head, body = client.deny(request, deny.text, self._env, NOTHING_USED, stop=deny.stop, worded=deny.worded)
        return Answer(head.status, head.headers, body, "denied")

    def _erred(self, client: Dialect, deny: Deny) -> Answer:
        status = max(deny.status, 400)
        failed = ResponseFailed(kind_of_status(status), deny.text, status, deny.code, ours=True)
        head, body = render_error(client.name, failed)
        return Answer(head.status, head.headers, body, "denied")

    def _requested(self, call: ClientCall) -> Call | Answer:
        client, target = self._settle(call)
        self.state = Progress.ANSWERED
        try:
            made = self._make(client, call, target)
        except Exception as error:
            raise self._refusal(client, error) from None
        finally:
            self.media, self.looked_at, self.opened = None, b"", None
        self._request_losses = len(self.losses)
        self._reported = self._told_losses() if self._request_losses else ""
        if isinstance(made, Call):
            self.state = Progress.SENT
        return made

    def _plain(self, call: ClientCall) -> ClientCall:
        """*call* with its body as it was before the client compressed it."""
        try:
            body = plain_body(call.body, call.headers, min(self._max_request(), self.limits.max_inflated_bytes))
        except InflateError as error:
            self._expect(Progress.NEW)
            self.state = Progress.ANSWERED
            failed = not_inflated(error)
            client = self.client or registry.detect(call.path, b"", self.route.prefixes, call.headers)
            raise Refused(
                failed, *render_error(client or registry.shape_for(call.path, call.headers), failed)
            ) from None
        return call if body is call.body else replace(call, body=body, headers=without_encoding(call.headers))

    def _settle(self, call: ClientCall) -> tuple[Dialect, Target]:
        self._expect(Progress.NEW)
        client = self._settle_client(call)
        model = self._model_wanted(client, call) if not client.converses and self.route.provider.by_model else ""
        target = self.route.target(client.name, self.upstream, model)
        self.upstream = target.dialect
        return client, target

    def _model_wanted(self, client: Dialect, call: ClientCall) -> str:
        """The model that is going to be asked for, where the choice of the upstream's API depends on it."""
        if self.route.model:
            return self.route.model
        try:
            return client.peek(call.path, top_level(call.body)).model
        except ProtocolError:
            return ""

    def _refusal(self, client: Dialect, error: Exception) -> Exception:
        """What is raised when *error* came of a request."""
        if isinstance(error, ProtocolError):
            return refused(client.name, ErrorKind.INVALID_REQUEST, str(error), "invalid_value", error.path)
        if isinstance(error, Unsupported):
            return refused(client.name, ErrorKind.INVALID_REQUEST, error.message, error.code, error.path)
        if isinstance(error, NotReady):
            # As an overloaded upstream would: SDKs ask again by themselves.
            failed = ResponseFailed(ErrorKind.OVERLOADED, str(error), None, "credential_not_ready", ours=True)
            return Refused(failed, *render_error(client.name, failed))
        if isinstance(error, (Refused, RouteError)):
            return error
        if isinstance(error, RecursionError):
            return refused(client.name, ErrorKind.INVALID_REQUEST, "nested too deep", "invalid_value")
        log.error("a bug in translating a request from %s to %s", client.name, self.upstream, exc_info=error)
        return refused(client.name, ErrorKind.API, "internal error while translating the request")

    def _settle_client(self, call: ClientCall) -> Dialect:
        """The client's dialect, once for the exchange. Raises Refused where no API is meant."""
        name = self.client or registry.detect(call.path, call.body, self.route.prefixes, call.headers)
        if name is None:
            bare = call.path.partition("?")[0]
            alike = registry.shape_for(call.path, call.headers)
            raise refused(alike, ErrorKind.NOT_FOUND, f"no LLM API is served at {call.method} {bare}")
        self.client = name
        return registry.get(name)

    def _check_size(self, client: Dialect, call: ClientCall) -> None:
        limit = self._max_request()
        if len(call.body) > limit:
            raise refused(client.name, ErrorKind.TOO_LARGE, f"the request is larger than {limit} bytes")
        media = self._media_in(call.body)
        rest, carried = (call.body, 0) if media is None else (media.body, media.size)
        if is_heavier(rest, self.limits.max_decoded_bytes, passed=self.passthrough, carried=carried):
            raise refused(client.name, ErrorKind.TOO_LARGE, TOO_HEAVY)

    def _media_in(self, body: bytes) -> UnreadMedia | None:
        known = body is self.looked_at or (self.media is not None and self.media.whole is body)
        if not known:
            self.media, self.looked_at = found(body), body
        return self.media

    def _max_request(self) -> int:
        return self.route.max_request_bytes or self.limits.max_request_bytes

    def passing(self, method: str, path: str, headers: Headers, *, empty: bool) -> Call | None:
        """Of a request that passes unread (``PassesUnread``) the call, told by its head: it has no body, the request's
        own goes on beside it. ``None`` if the body must be read, by ``request``; *empty*: there is none. Raises
        Refused, RouteError."""
        call = ClientCall(method, path, headers, b"")
        client, target = self._settle(call)
        passes = registry.unread(client.name)
        assert passes is not None, "asked before"
        try:
            self._check_served(passes, call)
            named = passes.may_name_model(call) and (self.route.model or "{model}" in target.path)
            # What is signed must be known, too.
            if not empty and (named or self.route.aws is not None):
                return None
            made = self._pass_unread(passes, call, target)
        except Exception as error:
            self.state = Progress.ANSWERED
            raise self._refusal(client, error) from None
        self.state = Progress.SENT
        return made

    def _check_served(self, client: PassesUnread, call: ClientCall) -> None:
        endpoint = client.endpoint(call.path)
        if not self.route.serves(client.name, endpoint):
            bare = call.path.partition("?")[0][:128]
            alike = registry.shape_for(call.path, call.headers)
            raise refused(alike, ErrorKind.NOT_FOUND, f"{call.method} {bare} is not served by this route")

    def _pass_unread(self, client: PassesUnread, call: ClientCall, target: Target) -> Call:
        self.model_asked = model = client.model_of(call)
        if self.route.model and self.route.model != model:
            call = client.renamed(call, self.route.model)
            model = client.model_of(call)
        path = client.place(Upstream(self.route.provider.name, target.path), call.path, model)
        self._asked = Asked(model, operation=Operation.ELSE)
        known = Request(dialect=client.name, model=model, messages=[])
        return self._made(call, UpstreamCall(call.method, path, [], {}, known), call.body, target.host)

    def _make(self, client: Dialect, call: ClientCall, target: Target) -> Call | Answer:
        if (passes := registry.unread(client.name)) is not None:
            self._check_served(passes, call)
            return self._pass_unread(passes, call, target)
        self._check_size(client, call)
        self.operation = operation = client.operation(call.path)
        if self.route.tells_traits:
            self.traits = client.traits(call.members())
        if operation is Operation.COUNT:
            return self._count_request(client, call, target)
        carried = self._media_in(call.body) if client.converses else None
        if carried is not None and (self.is_json or is_json(call.body)):
            losses = self.losses.copy()
            self._carried = carried
            try:
                return self._conveyed(client, replace(call, body=carried.body), target)
            except (ProtocolError, Unsupported, _NotCarried):
                # Another reading may say it otherwise, or find nothing wrong.
                self.losses.become(losses)
            finally:
                self._carried = None
        return self._conveyed(client, call, target)

    def _conveyed(self, client: Dialect, call: ClientCall, target: Target) -> Call:
        """A request that is no count, and is read."""
        if self.passthrough:
            return self._pass_request(client, call, target)
        upstream = registry.get(target.dialect)
        asks, gives = registry.ASK_FOR_VECTORS.get(client.name), registry.GIVE_VECTORS.get(upstream.name)
        if asks is not None and gives is not None:
            return self._translate_embed(asks, gives, call, target)
        if not (client.converses and upstream.converses):
            provider = self.route.provider
            speaks = f"provider {provider.name} speaks {', '.join(provider.dialects)}"
            if not client.converses and provider.by_model:
                speaks += "; which of them, the model's name or the route's upstream must say"
            raise Unsupported("", f"{client.name} requests cannot be translated to {upstream.name} ({speaks})")
        return self._translate_request(client, upstream, call, target)

    def _translate_embed(
        self, client: AsksForVectors, upstream: GivesVectors, call: ClientCall, target: Target
    ) -> Call:
        # Each API has its own words and places for these, in some of them one for each text: the route says them as
        # the client would.
        said = {name: value for name, value in self.route.options.items() if name in client.words}
        options = {name: value for name, value in self.route.options.items() if name not in said}
        if said:
            call = replace(call, body=encode({**top_level(call.body), **said}))
        request = client.parse_embed(call, self.losses)
        self.model_asked = request.model
        request = replace(request, model=self.route.model or request.model)
        if not request.model:
            raise ProtocolError("model", "is missing")
        emitted = upstream.emit_embed(request, self._upstream(target, request.model), self.losses)
        self._accept_losses()
        self._embedding = remembered_inputs(request)
        body = encode(replace(self.route, options=options).apply(emitted.members, target.dialect, ()))
        return self._made(call, _kept(emitted), body, target.host)

    def _accept_losses(self) -> None:
        """Raises Unsupported for a loss that the route does not allow."""
        if self.route.losses == "reject" and (loss := self.losses.unacceptable()):
            detail = f": {loss.detail}" if loss.detail else ""
            message = f"{loss.path} cannot be carried to this upstream ({loss.action.value}){detail}"
            raise Unsupported(loss.path, message, "unsupported_parameter")

    def _translate_request(self, client: Dialect, upstream: Dialect, call: ClientCall, target: Target) -> Call:
        request = client.parse_request(call, self.losses)
        for member in request.extra.values():
            if member.stored:
                raise Unsupported(member.path, member.problem, member.code)
        self.model_asked = request.model
        # What it was read from is of no use to another dialect, and need not be kept.
        request = replace(request, model=self.route.model or request.model, source=None)
        if not request.model:
            raise ProtocolError("model", "is missing")
        if not request.messages and not request.system:
            raise ProtocolError(request.path_of("messages"), "at least one message is required")
        emitted = upstream.emit_request(request, self._upstream(target, request.model), self.losses)
        self._accept_losses()
        body = encode(self.route.apply(emitted.members, target.dialect, upstream.limits, upstream.places))
        return self._made(call, _kept(emitted), body, target.host)

    def _pass_request(self, client: Dialect, call: ClientCall, target: Target) -> Call:
        """Same dialect: the bytes as they came, but for the members that the route sets."""
        members = call.members()
        asked = client.peek(call.path, members)
        signer = client.signer(self.route.provider.name, self.route.model or asked.model)
        body = client.mend(call.body, self.losses, signer)
        if body is not call.body:
            members = top_level(body)
        self.model_asked = asked.model
        path, changed = call.path, members
        if self.route.model and self.route.model != asked.model:
            path, changed = client.rename(path, members, self.route.model)
        if asked.operation is not Operation.COUNT:
            # Of what else the route sets, the API that counts tokens knows nothing.
            changed = self.route.apply(changed, target.dialect, client.limits, client.places)
            if asked.stream:
                changed = self._asking_for_usage(client, changed, target)
        if changed is not members and changed != members:
            body = encode(changed)
        self._asked = asked = client.peek(path, changed)
        upstream = Upstream(self.route.provider.name, target.path, verbs=target.verbs)
        address = _address(client, upstream, asked)
        assert address is not None, "asked before"
        request = Request(dialect=client.name, model=asked.model, messages=[], stream=asked.stream)
        if self.policed and self._read is not None:
            # Its answer is written anew, from what the request settled.
            request = replace(remembered(self._read), model=asked.model, stream=asked.stream)
        headers = [("content-type", "application/json")]
        made = UpstreamCall(*address, headers, {}, request, Undo(signer=signer))
        return self._made(call, made, body, target.host)

    def _asking_for_usage(self, client: Dialect, members: dict[str, Any], target: Target) -> dict[str, Any]:
        """The counts of a client's stream are for the record as well, whether or not the client wants them."""
        counted = registry.USAGE_ON_DEMAND.get(client.name)
        if self.route.usage != "always" or counted is None:
            return members
        asking = counted.asking_for_usage(members)
        if asking is None or not self._upstream(target, client.peek("", members).model).capabilities.stream_options:
            return members
        self._unasked = True
        return asking

    def _count_request(self, client: Dialect, call: ClientCall, target: Target) -> Call | Answer:
        """A request for the number of its tokens: to an upstream that counts, of the same API or of another; else it is
        answered here."""
        asked = client.peek(call.path, top_level(call.body))
        if self.passthrough and self._to_count is None:
            upstream = Upstream(self.route.provider.name, target.path, verbs=target.verbs)
            model = self.route.model or asked.model
            if _address(client, upstream, Asked(model, operation=Operation.COUNT)) is not None:
                return self._pass_request(client, call, target)
        elif (made := self._ask_count(client, call, target)) is not None:
            return made
        self.model_asked = asked.model
        if self._to_count is not None and isinstance(client, AsksForCounts):
            body = client.write_count(estimate(self._to_count))
        else:
            assert isinstance(client, CountsTokens)
            body = client.estimate(call)
        return Answer(200, [("content-type", "application/json"), ESTIMATED], body, "estimated")

    def _ask_count(self, client: Dialect, call: ClientCall, target: Target) -> Call | None:
        """The question in the upstream's API, or in another one of its provider's; ``None`` where neither has such a
        question, or not about such a request."""
        target = self._counting(client, target)
        upstream = registry.get(target.dialect)
        if not (isinstance(client, AsksForCounts) and isinstance(upstream, GivesCounts)):
            return None
        asked = client.parse_count(call) if self._to_count is None else self._to_count
        request = replace(asked, model=self.route.model or asked.model, source=None)
        if not request.model:
            return None
        try:
            # What is lost of a request that nobody answers is no loss.
            emitted = upstream.emit_count(request, self._upstream(target, request.model), LossReport())
        except Unsupported:
            return None
        if emitted is None:
            return None
        self.model_asked = asked.model
        self._asked = Asked(request.model, operation=Operation.COUNT)
        # Not every server that speaks an API has this part of it, and an agent is to be told something.
        self.upstream, self._estimated = target.dialect, client.write_count(estimate(asked))
        return self._made(call, _kept(emitted), encode(emitted.members), target.host)

    def _counting(self, client: Dialect, target: Target) -> Target:
        """*target*, or where else its provider counts tokens."""
        elsewhere, own = self.route.provider.counts, self.route.endpoint
        known = self._route_chooses and (own is None or not own.path)
        if not elsewhere or not known or isinstance(registry.get(target.dialect), GivesCounts):
            return target
        return self.route.target(client.name, elsewhere)

    def _upstream(self, target: Target, model: str) -> Upstream:
        try:
            row = self._capabilities.find(self.route.provider.name, model, self.route.quirks)
        except capability_data.CapabilityError as error:
            raise RouteError(f"route: {error}") from None
        return Upstream(self.route.provider.name, target.path, row, model, target.verbs)

    def _made(self, call: ClientCall, made: UpstreamCall, body: bytes, host: str | None) -> Call:
        if self._carried is not None:
            body = self._with_media(self._carried, made, body)
        self._call = made
        self.kept = made.request.kept
        self.model_sent = made.request.model
        route, same = self.route, self.passthrough
        path, secret = route.query(made.path, call.path, passthrough=same)
        self._sent = keys = route.credentials()
        headers = upstream_headers(call.headers, made.headers, keys, passthrough=same, forward=route.forward_headers)
        # The credential's stand last.
        headers = headers[: len(headers) - len(keys)]
        whole = Call(made.method, path, headers, body, host, CallCredentials(keys, secret))
        if route.aws is None:
            return whole
        signed = route.aws.sign(made.method, whole.full_path(), headers, body, self._env.now)
        return replace(whole, credentials=CallCredentials(keys + signed, secret))

    def _with_media(self, carried: UnreadMedia, made: UpstreamCall, body: bytes) -> bytes:
        """*body* with what was *carried*. Raises _NotCarried where any of it is missing there, or in what else there is
        of the request: what its answer repeats of it, and what is told of losses."""
        whole = carried.put_back(body)
        state = made.request.client_state
        told = [loss.detail for loss in self.losses]
        if whole is None or carried.shows_in(encode(told)) or (state is not None and carried.shows_in(encode(state))):
            raise _NotCarried
        return whole

    # ---- the response

    def response_head(self, status: int, headers: Headers) -> None:
        """What the upstream answered. Sets ``whole``, and ``head`` unless ``whole``."""
        self._expect(Progress.SENT)
        self.state = Progress.RESPONDING
        try:
            self._mask = mask_of(self.secrets())
            self._response = self._respond(ResponseHead(status, self._mask.headers(headers)))
        except Exception:
            log.exception("a bug in reading the head of a response from %s", self.upstream)
            self._response = Broken(registry.get(self.client or registry.FALLBACK), INTERNAL, self.note)
        if not self._response.whole:
            self.head = self._response.head()

    def _respond(self, head: ResponseHead) -> Response:
        call = self._call
        assert call is not None and self.client is not None and self.upstream is not None
        client = registry.get(self.client)
        length = head.header("content-length")
        if 300 <= head.status < 400:
            # It leads to the provider's host, past the gateway, and may repeat the key in its query.
            message = f"the upstream answered with a redirect (HTTP {head.status})"
            return Broken(client, ResponseFailed(ErrorKind.API, message, 502, "upstream_redirect"), self.note)
        if length.isdecimal() and self._too_large(int(length)):
            return Broken(client, self._larger(), self.note)
        if self._asked.operation is Operation.COUNT and not self.passthrough and head.status < 400:
            upstream = registry.get(self.upstream)
            return Counted(client, upstream, upstream.read_meta(head, self._env), head, self.limits, self.note)
        if self._estimated and head.status in NOT_THERE:
            return Instead(client, self._estimated, head, self.limits, [ESTIMATED], self.note)
        if self._embedding is not None and head.status < 400:
            upstream = registry.get(self.upstream)
            meta, report = upstream.read_meta(head, self._env), self.report_headers()
            shares = (meta, head, self.limits, self.losses, report, self.note)
            return Embedded(client, upstream, call, self._embedding, *shares)
        if self._chain is not None and self.policed and head.status < 400:
            gate, upstream = self._chain.gate(), registry.get(self.upstream)
            report = self.report_headers()
            return Policed(gate, client, upstream, call, head, self._env, self.limits, self.losses, report, self.note)
        shared = (call, head, self._env, self.limits, self.losses, self.report_headers(), self.note)
        if self.passthrough:
            # A count of tokens is no answer of a model's: nothing in it was used.
            counts = self._asked.operation is Operation.COUNT or self._holds_no_usage(head)
            counted, labelled = registry.USAGE_ON_DEMAND.get(client.name), registry.LABEL_THINKING.get(client.name)
            sieve = counted.without_usage(self.limits) if self._unasked and counted is not None else None
            labels = labelled.labels(call.undo.signer, self.limits) if labelled is not None and not counts else None
            watch = not counts or head.status >= 400
            return Passed(client, *shared, watch=watch, sieve=sieve, labels=labels)
        return Translated(client, registry.get(self.upstream), *shared)

    def _holds_no_usage(self, head: ResponseHead) -> bool:
        """Of what passes unread: pictures, sound, files."""
        return self._asked.operation is Operation.ELSE and not (is_stream(head) or "json" in head.media_type)

    @property
    def unwatched(self) -> bool:
        """What the upstream answers goes by as it comes, and nobody looks at it."""
        passes = self._asked.operation is Operation.ELSE and self.route.max_response_bytes is None
        return passes and isinstance(self._response, Passed) and self._response.unwatched

    def response_body(self, chunk: bytes, end_of_stream: bool = False) -> bytes:
        """Bytes for the client. A whole answer comes with ``end_of_stream``; after it there is nothing. As for policies
        see ``request``; the steps are those of ``responding``."""
        response = self._receiving(chunk)
        if isinstance(response, Policed):
            return unassisted(self._responding(response, chunk, end_of_stream))
        try:
            out = self._unfed(response, end_of_stream)
            if out is None:
                out = response.feed(chunk, end_of_stream)
        except Exception:
            out = self._bug(response, end_of_stream)
        return self._told(response, out, end_of_stream)

    def responding(self, chunk: bytes, end_of_stream: bool = False) -> Generator[Effect, Result, bytes]:
        """The same as ``response_body``, in steps."""
        response = self._receiving(chunk)
        return (yield from self._responding(response, chunk, end_of_stream))

    def _responding(self, response: Response, chunk: bytes, end_of_stream: bool) -> Generator[Effect, Result, bytes]:
        try:
            out = self._unfed(response, end_of_stream)
            if out is None and isinstance(response, Policed):
                out = yield from response.feeding(chunk, end_of_stream)
            elif out is None:
                out = response.feed(chunk, end_of_stream)
        except Exception:
            out = self._bug(response, end_of_stream)
        return self._told(response, out, end_of_stream)

    def _receiving(self, chunk: bytes) -> Response:
        response = self._response
        if response is None:
            raise OutOfOrder(f"response_body before response_head (the exchange is {self.state.value})")
        self._received += len(chunk)
        return response

    def _unfed(self, response: Response, end_of_stream: bool) -> bytes | None:
        """What the client gets if what came is not to be looked at."""
        if self.state is Progress.ABORTED or self.state is Progress.CUT:
            return self._after_abort(response, end_of_stream)
        if self.state is not Progress.ENDED and self._too_large(self._received):
            return self._abort(response, self._larger(), end_of_stream)
        return None

    def _bug(self, response: Response, end_of_stream: bool) -> bytes:
        log.exception("a bug in translating a response from %s to %s", self.upstream, self.client)
        return response.abort(INTERNAL, end_of_stream)

    def _told(self, response: Response, out: bytes, end_of_stream: bool) -> bytes:
        if out:
            self._told_bytes += len(out) + PIECE_BYTES
            if self._told_bytes > self.most_told and self.state is not Progress.ABORTED:
                return self._untold(response, end_of_stream)
        if end_of_stream:
            self.head = self._reporting(response)
        if self._begun:
            out, self._begun = self._begun + out, b""
        if out and (self.failed is not None or self.head.status >= 400 or self._mask.shows_in(out)):
            out = self._mask.data(out)
        if out and not end_of_stream and (begun := self._mask.begun_in(out)):
            # A secret that comes in two pieces is one all the same.
            out, self._begun = out[:-begun], out[-begun:]
        return out

    def _abort(self, response: Response, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        out = response.abort(failed, end_of_stream)
        self.state = Progress.ABORTED if response.whole or out else Progress.CUT
        return out

    def _untold(self, response: Response, end_of_stream: bool) -> bytes:
        """What the client gets in place of what would be more than it may."""
        message = f"the answer is longer than the {self.most_told} bytes that may wait for a client"
        failed = ResponseFailed(ErrorKind.API, message, 502, TOO_LARGE)
        if response.whole:
            self._response = error = Broken(registry.get(self.client or registry.FALLBACK), failed, self.note)
            self.head = error.head()
            return error.feed(b"", end_of_stream)
        out = self._abort(response, failed, end_of_stream)
        if self.failed is None:
            # It had ended well, but for what does not go to the client any more.
            self.note(failed)
            self.state = Progress.CUT
        self._begun = b""
        return out

    def _after_abort(self, response: Response, end_of_stream: bool) -> bytes:
        if response.whole:
            return response.feed(b"", end_of_stream)
        self.state = Progress.CUT
        return b""

    def _too_large(self, size: int) -> bool:
        return size > self._most_received

    def _larger(self) -> ResponseFailed:
        message = f"the upstream's answer is larger than {self.route.max_response_bytes} bytes"
        return ResponseFailed(ErrorKind.API, message, 502, "upstream_error")

    def secrets(self) -> tuple[str, ...]:
        """What neither a client nor a log is to see of what the upstream got."""
        return self.route.secrets(self._sent)

    def release(self) -> None:
        """Nothing more is to come: let go of what would keep the bodies until Python looks for cycles."""
        self._response = None

    # ---- what is known of it

    @property
    def passthrough(self) -> bool:
        """Both sides speak one dialect."""
        return self.upstream is not None and self.client == self.upstream

    @property
    def policed(self) -> bool:
        """Policies look at the answer: what comes of it is asked for by ``responding``."""
        return self._chain is not None and self._chain.watches

    @property
    def denied_by(self) -> str:
        """The policy that ended the exchange, or would have ended it."""
        return self._chain.denied_by if self._chain is not None else ""

    @property
    def policy_facts(self) -> Mapping[str, Any]:
        """What policies have told of the exchange."""
        return self._chain.context.facts if self._chain is not None else {}

    @property
    def whole(self) -> bool:
        """Head and body of the answer are final only at its end: hold the head back."""
        return self._response is None or self._response.whole

    @property
    def stream_asked(self) -> bool:
        """The client asked for a stream, whatever it gets."""
        return self._call is not None and self._call.request.stream

    @property
    def streamed(self) -> bool:
        """The client asked for a stream and gets one."""
        return self.stream_asked and not self.whole

    @property
    def request_losses(self) -> list[Loss]:
        return list(self.losses)[: self._request_losses]

    def _reporting(self, response: Response) -> ResponseHead:
        """The head of an answer that is over. What was lost of a whole one is told with what was lost of the request;
        the head of a stream was out before."""
        head = response.head()
        if not response.whole or self.route.losses != "report" or len(self.losses) == self._request_losses:
            return head
        others = [pair for pair in head.headers if pair[0] != REPORT_HEADER]
        return ResponseHead(head.status, [*others, (REPORT_HEADER, self._told_losses())])

    def _told_losses(self) -> str:
        return self.losses.told(MAX_REPORT_BYTES, _UNSAFE_IN_REPORT)

    def report_headers(self) -> Headers:
        """The request's losses as a response header, where the route asks for it."""
        return [(REPORT_HEADER, self._reported)] if self.route.losses == "report" and self._reported else []


def _kept(call: UpstreamCall) -> UpstreamCall:
    """*call* with what its answer is read and written by. The rest is as large as a conversation, and would stay for
    as long as the answer takes."""
    plain = {k: v for k, v in call.members.items() if type(v) in _NUMBERS}
    return replace(call, members=plain, request=remembered(call.request))


def _address(client: Dialect, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
    """Method and path of what was *asked*; ``None`` where the upstream does not count tokens, or nobody knows where."""
    if asked.operation is not Operation.COUNT:
        return client.address(upstream, asked)
    return client.count_address(upstream, asked) if isinstance(client, CountsTokens) else None


def _route(route: Mapping[str, Any] | Route | None, upstream: str | None) -> Route:
    if isinstance(route, Route):
        return route
    if route is None:
        # Without a route the translation alone is wanted: the provider that the upstream's dialect is native to.
        route = {"provider": providers.native_to(upstream or registry.FALLBACK), "auth": "none"}
    return compile_route([route])
