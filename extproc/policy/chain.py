"""The policies of one exchange, one behind the other, in the operator's order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Any

from ..effects import Effect, Result
from ..llm.embeddings import EmbedRequest
from ..llm.events import (
    NO_USAGE,
    BlockEnded,
    KeepAlive,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ToolInputDelta,
    Usage,
)
from ..llm.failures import ErrorKind, ProtocolError, kind_of_status
from ..llm.grammar import Grammar, State
from ..llm.request import Request
from .base import Configured, Context, Deny, Policy, Unavailable, Window

log = logging.getLogger(__name__)

_Link = tuple[Configured, Policy | None]
"""What a route configures, and what it made for this exchange; ``None`` if it could not."""

MAX_WINDOW = 1024 * 1024
"""Characters after which a policy is told of what is held, however much it wanted to see at once."""
ILLEGAL = ResponseFailed(ErrorKind.API, "a policy of the gateway made an answer that is none", 502, "policy_error")


class Chain:
    """``on_body`` and ``on_request`` once, then ``gate`` if ``watches``. *denied_by* names the policy that ended it."""

    def __init__(self, configured: Sequence[Configured], context: Context) -> None:
        self.context = context
        self.denied_by = ""
        self._links = [(each, _made(each, context)) for each in configured]
        self._answers = True

    @property
    def watches(self) -> bool:
        """Whether any of them looks at answers."""
        return self._answers and any(policy is not None and policy.window is not None for _, policy in self._links)

    def unread(self, why: Exception) -> None:
        """None of them could look at the request. Raises *why* unless the exchange goes on without all of them."""
        if not all(each.fail_open for each, _ in self._links):
            raise why
        for each, _ in self._links:
            self._cannot_say(each, why)

    def on_body(self, body: bytes) -> Generator[Effect, Result, bytes | Deny]:
        """The body that is to be read, or why none is."""
        links = [(e, p) for e, p in self._links if p is not None and type(p).on_body is not Policy.on_body]
        made: bytes | Deny = yield from self._in_turn(links, body, lambda policy, given: policy.on_body(given))
        return made

    def on_request(self, request: Request) -> Generator[Effect, Result, Request | Deny]:
        """The request that is to go on, or why none is."""
        made: Request | Deny
        made = yield from self._in_turn(self._links, request, lambda policy, given: policy.on_request(given))
        return made

    def only_counting(self) -> bool:
        """Leave out those that have nothing to say of a request for a count of tokens. Whether any is left."""
        self._answers = False
        self._links = [(e, p) for e, p in self._links if p is None or p.counts]
        return bool(self._links)

    def only_embedding(self) -> bool:
        """Leave out those that have nothing to say of a request for vectors. Whether any is left."""
        self._links = [(e, p) for e, p in self._links if p is None or type(p).on_embed is not Policy.on_embed]
        return bool(self._links)

    def on_embed(self, request: EmbedRequest) -> Generator[Effect, Result, EmbedRequest | Deny]:
        """The request for vectors that is to go on, or why none is."""
        made: EmbedRequest | Deny
        made = yield from self._in_turn(self._links, request, lambda policy, given: policy.on_embed(given))
        return made

    def gate(self) -> ResponseGate:
        return ResponseGate(self, [(each, policy) for each, policy in self._links if policy is None or policy.window])

    def _in_turn(
        self, links: Sequence[_Link], given: Any, ask: Callable[[Policy, Any], Any]
    ) -> Generator[Effect, Result, Any]:
        """*given* as it is behind all of *links*, or the first denial."""
        for each, policy in links:
            given = yield from self.judged(each, policy, given, ask)
            if isinstance(given, Deny):
                break
        return given

    def judged(
        self, each: Configured, policy: Policy | None, given: Any, ask: Callable[[Policy, Any], Any]
    ) -> Generator[Effect, Result, Any]:
        """What *policy* makes of *given*, or what its ``fail`` says when it cannot say."""
        try:
            if policy is None:
                raise Unavailable("it could not be made")
            made = ask(policy, given)
            if isinstance(made, Generator):
                made = yield from made
            if isinstance(made, Deny):
                self.denied_by = each.name
            return made
        except Unavailable as error:
            self._cannot_say(each, error)
        except RecursionError:
            # What nobody can look at is the client's fault, and passes no policy.
            raise
        except Exception:
            log.exception("a bug in the policy %s", each.name)
        if each.fail_open:
            self.context.facts[f"{each.name}_skipped"] = True
            return given
        self.denied_by = each.name
        return Deny(f"the gateway's policy {each.name} could not be checked; try again", 503, "policy_unavailable")

    def _cannot_say(self, each: Configured, why: Exception) -> None:
        if each.fail_open:
            self.context.facts[f"{each.name}_skipped"] = True
        if not each.quiet:
            log.warning("the policy %s cannot say: %s", each.name, why)


def _made(each: Configured, context: Context) -> Policy | None:
    try:
        return each.make(context)
    except Exception:
        log.exception("a bug in making the policy %s", each.name)
        return None


class _Stage:
    """One policy's window on the answer."""

    def __init__(self, each: Configured, policy: Policy | None) -> None:
        self.each = each
        self.policy = policy
        self.window = policy.window if policy is not None and policy.window is not None else Window()
        self.held: list[ResponseEvent] = []
        self.size = 0

    def is_full(self) -> bool:
        return self.size >= min(self.window.chars, MAX_WINDOW) > 0


class ResponseGate:
    """Lets an answer's events go on as the policies have been told of them. ``passing`` for what comes, in order."""

    def __init__(self, chain: Chain, links: Sequence[_Link]) -> None:
        self._chain = chain
        self._stages = [_Stage(each, policy) for each, policy in links]
        self._grammar = Grammar()
        self._started: ResponseStarted | None = None
        self._usage: Usage = NO_USAGE

    def passing(self, events: list[ResponseEvent]) -> Generator[Effect, Result, list[ResponseEvent]]:
        """What goes on now, of *events* and of what was held before; nothing after the end."""
        if self._grammar.state is State.ENDED:
            return []
        for event in events:
            self._see(event)
        for stage in self._stages:
            passed = yield from self._through(stage, events)
            if isinstance(passed, Deny):
                return self._legal(self._denial(passed))
            events = passed
        return self._legal(events)

    def _see(self, event: ResponseEvent) -> None:
        if isinstance(event, ResponseStarted):
            self._started = event
            self._usage = event.usage
        elif isinstance(event, ResponseEnded):
            self._usage = event.usage

    def _through(
        self, stage: _Stage, events: list[ResponseEvent]
    ) -> Generator[Effect, Result, list[ResponseEvent] | Deny]:
        out: list[ResponseEvent] = []
        for event in events:
            if isinstance(event, KeepAlive):
                out.append(event)
                continue
            failed = isinstance(event, ResponseFailed)
            if not failed:
                stage.held.append(event)
                stage.size += _chars(event)
                if not stage.window.hold:
                    out.append(event)
            if failed or isinstance(event, ResponseEnded) or stage.is_full():
                told = yield from self._told(stage, isinstance(event, ResponseEnded))
                if isinstance(told, Deny):
                    return told
                out += told
            if failed:
                out.append(event)
        if stage.window.chars == 0 and stage.held:
            told = yield from self._told(stage, False)
            if isinstance(told, Deny):
                return told
            out += told
        return out

    def _told(self, stage: _Stage, last: bool) -> Generator[Effect, Result, list[ResponseEvent] | Deny]:
        held, stage.held, stage.size = stage.held, [], 0
        if not held:
            return []
        made = yield from self._chain.judged(
            stage.each, stage.policy, held, lambda it, given: it.on_events(given, last)
        )
        if stage.window.hold or (isinstance(made, Deny) and not last):
            found: list[ResponseEvent] | Deny = made
            return found
        # It has all gone on: the record says who would have denied it.
        return []

    def _denial(self, deny: Deny) -> list[ResponseEvent]:
        """The end of the answer, from where the client has it."""
        if deny.status >= 400:
            return [ResponseFailed(kind_of_status(deny.status), deny.text, deny.status, deny.code, ours=True)]
        events: list[ResponseEvent] = []
        if self._grammar.state is State.NOT_STARTED:
            events.append(self._started or ResponseStarted(self._chain.context.request_id, "", self._usage))
        events += [BlockEnded(block) for block in self._grammar.open]
        block = self._grammar.next_block
        events += [TextStarted(block, deny.worded), TextDelta(block, deny.text), BlockEnded(block)]
        events.append(ResponseEnded(deny.stop, self._usage))
        return events

    def _legal(self, events: list[ResponseEvent]) -> list[ResponseEvent]:
        out: list[ResponseEvent] = []
        for event in events:
            try:
                out.append(self._grammar.check(event))
            except ProtocolError as error:
                log.error("a bug in a policy: %s", error)
                self._grammar.state = State.ENDED
                return [*out, ILLEGAL]
        return out


def _chars(event: ResponseEvent) -> int:
    if isinstance(event, (TextDelta, ThinkingDelta)):
        return len(event.text)
    return len(event.fragment) if isinstance(event, ToolInputDelta) else 0
