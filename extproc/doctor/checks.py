"""What is asked of a gateway, one function each, and what each outcome means for whoever runs it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ..check import Unreadable, check
from ..version import version
from ..wire import NoAnswer, SeenAnswer, ask

MAX_SKEW = 60.0
"""Seconds that two clocks may differ. Signed requests are refused from five minutes on, tokens sooner."""
MAX_TOKENS = 64
"""Of each answer that is asked for."""
MAX_MODELS = 4
"""Models that are tried where none is named: one of each owner."""
TESTED = ("1.37", "1.38", "1.39", "1.40")
"""The Envoys that the tests run on."""
FAILING = (
    "streams_failed",
    "message_timeouts",
    "failure_mode_allowed",
    "spurious_msgs_received",
    "rejected_header_mutations",
)
"""Counters of Envoy's filter that stay at 0 where all is well."""
QUESTION = "Answer with the one word: yes"


@dataclass(frozen=True)
class Looked:
    """One thing that was looked at."""

    grade: Literal["ok", "note", "wrong"]
    what: str
    then: str = ""
    """What to do, or the line to write."""


@dataclass
class Patient:
    """A gateway, and what is known of it so far."""

    url: str
    admin: str = ""
    """Envoy's admin interface."""
    models: list[str] = field(default_factory=list)
    """Those to try."""
    requests: bool = True
    """Whether models may be asked, which costs a few tokens each."""
    sidecar: str = ""
    """The sidecar's admin port."""
    answers: bool = False
    """Whether anything came back."""


def examine(patient: Patient) -> Iterator[Looked]:
    """Look at all of it, in an order in which the first thing that is wrong is the cause of what follows."""
    yield from _alive(patient)
    if patient.answers:
        yield from _listed(patient)
        if patient.requests:
            yield from _translates(patient)
    if patient.sidecar:
        yield from _sidecar(patient)
    if patient.admin:
        yield from _envoy(patient)


# ---- does it answer


def _alive(patient: Patient) -> Iterator[Looked]:
    try:
        seen = ask(patient.url, "/", method="HEAD", seconds=10)
    except NoAnswer as error:
        where = "`extproc run` starts one; or look at the listener's address in Envoy's configuration"
        yield Looked("wrong", f"nothing answers at {patient.url}: {error}", where)
        return
    patient.answers = True
    server = seen.headers.get("server", "")
    if seen.status == 200:
        yield Looked("ok", f"it answers{f', by {server}' if server else ''}")
    elif seen.status in (500, 503, 504):
        start = "start it, `extproc serve --listen ADDRESS`, with the address of the cluster extproc; "
        start += "`extproc health ADDRESS` asks it directly"
        yield Looked("wrong", f"Envoy answers by itself with {seen.status}: the sidecar cannot be reached", start)
    else:
        fine = "fine where the filter stands behind a route: docs/envoy.md#four-placements-one-service"
        yield Looked("note", f"HEAD / is answered with {seen.status}: no router of ours is on this listener", fine)
    yield from _clock(seen)


def _clock(seen: SeenAnswer) -> Iterator[Looked]:
    """What the time in an answer that has just come says."""
    try:
        skew = parsedate_to_datetime(seen.headers.get("date", "")).timestamp() - time.time()
    except (ValueError, TypeError):
        return
    if abs(skew) > MAX_SKEW:
        how = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Looked("wrong", how, "signed requests and tokens are refused then: timedatectl set-ntp true")
    else:
        yield Looked("ok", "its clock is right")


def _listed(patient: Patient) -> Iterator[Looked]:
    try:
        seen = ask(patient.url, "/v1/models", seconds=10)
    except NoAnswer as error:
        yield Looked("wrong", f"GET /v1/models: {error}")
        return
    body = seen.json
    entries = body.get("data") if isinstance(body, dict) else None
    if seen.status == 404:
        write = '{filter_metadata: {extproc: {models: "gpt-5.4-mini: {owned_by: openai}"}}}'
        yield Looked("note", "no list of models: clients cannot ask for it", f"metadata of the virtual host: {write}")
    elif seen.status != 200 or not isinstance(entries, list):
        yield Looked("wrong", f"GET /v1/models is answered with {seen.status}: {_message(seen)}", _next(seen))
    else:
        listed = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        yield Looked("ok", f"{len(listed)} models are listed: {', '.join(str(entry['id']) for entry in listed[:8])}")
        if not patient.models:
            first = {str(entry.get("owned_by")): str(entry["id"]) for entry in reversed(listed)}
            patient.models = list(reversed(first.values()))[:MAX_MODELS]


# ---- does it translate


def _translates(patient: Patient) -> Iterator[Looked]:
    if not patient.models:
        yield Looked("note", "no model was asked: none is listed", "name one: extproc doctor URL --model NAME")
    for model in patient.models:
        for api in (_MESSAGES, _CHAT):
            for stream in (False, True):
                yield _asked(patient, model, api, stream)


@dataclass(frozen=True)
class _Api:
    title: str
    path: str
    headers: dict[str, str]
    body: Callable[[str], dict[str, Any]]
    whole: Callable[[Any], bool]
    """Whether JSON is a whole answer of this API."""
    ends: Callable[[list[tuple[str, Any]]], bool]
    """Whether events are a whole stream of it."""
    is_error: Callable[[Any], bool]


def _asked(patient: Patient, model: str, api: _Api, stream: bool) -> Looked:
    how = f"{model} by {api.title}, {'streamed' if stream else 'whole'}"
    try:
        seen = ask(patient.url, api.path, {**api.body(model), "stream": stream}, headers=api.headers)
    except NoAnswer as error:
        return Looked(
            "wrong", f"{how}: {error}", "look at Envoy's access log for this time: its flags and details say why"
        )
    if seen.status != 200:
        shape = "" if api.is_error(seen.json) else ", not in that API's shape: local_reply_config of deploy/envoy.yaml"
        return Looked("wrong", f"{how}: {seen.status}: {_message(seen)}{shape}", _next(seen))
    if seen.broken:
        return Looked(
            "wrong", f"{how}: the transfer broke off", "the upstream ended early, or Envoy's idle_timeout cut it"
        )
    if not stream:
        if not api.whole(seen.json):
            return Looked("wrong", f"{how}: the answer is not of that API: {_message(seen)}",
                          "this path is not translated here: its route needs the filter and metadata")  # fmt: skip
        return Looked("ok", f"{how}{_lost(seen)}")
    if not seen.headers.get("content-type", "").startswith("text/event-stream") or not api.ends(seen.events):
        modes = "response_body_mode: STREAMED and allow_mode_override: true in the filter (docs/envoy.md)"
        return Looked("wrong", f"{how}: no stream of that API, or one without its end", modes)
    first, last = seen.pieces[0][0], seen.pieces[-1][0]
    return Looked("ok", f"{how}: first bytes after {first:.2f} s, the end after {last:.2f} s{_lost(seen)}")


def _lost(seen: SeenAnswer) -> str:
    lost = seen.headers.get("x-llm-translation")
    return f" (lost: {lost})" if lost else ""


def _messages_body(model: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": QUESTION}]}


def _chat_body(model: str) -> dict[str, Any]:
    return {"model": model, "max_completion_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": QUESTION}]}


def _member(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


_MESSAGES = _Api(
    "Anthropic's API",
    "/v1/messages",
    {"x-api-key": "any", "anthropic-version": "2023-06-01"},
    _messages_body,
    lambda body: _member(body, "type") == "message" and isinstance(_member(body, "content"), list),
    lambda events: bool(events) and events[0][0] == "message_start" and events[-1][0] == "message_stop",
    lambda body: _member(body, "type") == "error" and isinstance(_member(body, "error", "message"), str),
)
_CHAT = _Api(
    "OpenAI's API",
    "/v1/chat/completions",
    {"authorization": "Bearer any"},
    _chat_body,
    lambda body: _member(body, "object") == "chat.completion" and isinstance(_member(body, "choices"), list),
    lambda events: len(events) > 1 and events[-1][1] == "[DONE]",
    lambda body: isinstance(_member(body, "error", "message"), str),
)


def _message(seen: SeenAnswer) -> str:
    said = _member(seen.json, "error", "message") or seen.body.decode("utf-8", "replace").strip() or "an empty body"
    return str(said)[:300]


_STEPS = {
    400: "the upstream or the sidecar refuses what was asked: the message says which member",
    401: "the provider refuses the key: set the variable that the route's auth names, in the sidecar's environment",
    403: "the provider's key may not use this model, or a filter of Envoy's refuses: the access log says which",
    404: "no route has this model: a line for it in models (docs/envoy.md#routing-by-model), or --model another",
    408: "the upstream took too long: idle_timeout of the route",
    413: "per_connection_buffer_limit_bytes of the listener, or max_request_bytes of the route, is too small",
    426: "accept_http_10: true in http_protocol_options of the connection manager",
    429: "the provider's limit, or its quota is used up; a second provider: models: {NAME: [ONE, OTHER]}",
    500: "the route's metadata is wrong, or the sidecar is not reached: its log says which; extproc check envoy.yaml",
    502: "what the upstream answers is not its API: look at override.endpoint and upstream of the route",
    503: "the upstream is not reached: host, port and TLS of Envoy's cluster; or the sidecar is down: extproc health",
    504: "the upstream took too long: timeout: 0s in the route, and idle timeouts",
    529: "the provider is overloaded; a second provider: models: {NAME: [ONE, OTHER]}",
}
"""What an answer with this status means, and which line to write."""


_ENVOYS = {"no upstream could be reached": 503, "the upstream did not answer in time": 504}
"""How errors begin that the gateway itself says, and under which status their step stands: an API may have its own."""


def _next(seen: SeenAnswer) -> str:
    message = _message(seen)
    status = next((status for begins, status in _ENVOYS.items() if message.startswith(begins)), seen.status)
    return _STEPS.get(status, "")


# ---- what the sidecar says


def _sidecar(patient: Patient) -> Iterator[Looked]:
    try:
        seen = ask(patient.sidecar, "/readyz", seconds=10)
    except NoAnswer as error:
        yield Looked("wrong", f"the sidecar's admin port does not answer at {patient.sidecar}: {error}",
                     "the sidecar says at its start where it is: extproc serve --admin 127.0.0.1:9902")  # fmt: skip
        return
    _, ours, theirs = seen.headers.get("server", "").partition("extproc/")
    if not ours:
        yield Looked("wrong", f"{patient.sidecar} is no admin port of a sidecar's", "extproc serve --admin names one")
    elif theirs != version():
        yield Looked("note", f"the sidecar is extproc {theirs}", f"this program is {version()}: ask with the same one")
    else:
        yield Looked("ok", f"the sidecar is extproc {theirs}")
    if ours and seen.status != 200:
        said = seen.body.decode("utf-8", "replace").strip()[:80]
        yield Looked("wrong", f"the sidecar takes no new streams: {said}", "its log says why; a second one serves on")


# ---- what Envoy says


def _envoy(patient: Patient) -> Iterator[Looked]:
    try:
        info = ask(patient.admin, "/server_info", seconds=10).json
        clusters = ask(patient.admin, "/clusters?format=json", seconds=10).json
        stats = ask(patient.admin, "/stats?format=json&filter=ext_proc", seconds=10).json
        dump = ask(patient.admin, "/config_dump?include_eds", seconds=30)
    except NoAnswer as error:
        yield Looked("wrong", f"Envoy's admin does not answer at {patient.admin}: {error}",
                     "its address stands under admin: in Envoy's configuration")  # fmt: skip
        return
    version = str(_member(info, "version") or "")
    number = next((part for part in version.split("/") if part.count(".") == 2), "")
    state = _member(info, "state")
    known = number.rpartition(".")[0] in TESTED
    yield Looked(
        "ok" if known and state == "LIVE" else "note",
        f"Envoy {number or version or '?'}, {state}",
        "" if known else f"the tests run on {', '.join(TESTED)}",
    )
    yield from _sidecars(clusters)
    yield from _counted(stats)
    yield from _checked(dump)


def _sidecars(clusters: Any) -> Iterator[Looked]:
    named = {str(_member(one, "name")): one for one in _member(clusters, "cluster_statuses") or []}
    ours = named.get("extproc")
    if ours is None:
        yield Looked("note", "no cluster is called extproc", "its filters name another, or none is configured")
        return
    hosts = _member(ours, "host_statuses") or []
    if not hosts:
        yield Looked(
            "wrong", "the cluster extproc has no host", "its address cannot be resolved: load_assignment of the cluster"
        )
    for host in hosts:
        place = _member(host, "address", "socket_address") or _member(host, "address", "pipe") or {}
        address = place.get("path") or f"{place.get('address')}:{place.get('port_value')}"
        counts = {item.get("name"): int(item.get("value", 0)) for item in _member(host, "stats") or []}
        ill = [
            name
            for name, value in (_member(host, "health_status") or {}).items()
            if name.startswith("failed") and value
        ]
        connected = counts.get("cx_active", 0)
        if ill or (counts.get("cx_connect_fail") and not connected):
            yield Looked("wrong", f"the sidecar at {address} is not reached: {', '.join(ill) or 'connections fail'}",
                         f"extproc health {address}")  # fmt: skip
        else:
            yield Looked(
                "ok", f"the sidecar at {address}: {connected} connections, {counts.get('rq_total', 0)} streams so far"
            )


def _counted(stats: Any) -> Iterator[Looked]:
    counts = {
        str(item.get("name")): item.get("value") for item in _member(stats, "stats") or [] if isinstance(item, dict)
    }
    bad = {name: value for name, value in counts.items() if name.endswith(FAILING) and value}
    if not counts:
        yield Looked("wrong", "Envoy has no ext_proc filter", "take it from deploy/envoy.yaml: docs/envoy.md")
    elif bad:
        said = ", ".join(f"{name} {value}" for name, value in sorted(bad.items()))
        yield Looked(
            "note", f"since Envoy started: {said}", "message_timeout: 10s in the filter; the sidecar's log has the rest"
        )
    else:
        yield Looked("ok", "no stream to the sidecar has failed since Envoy started")


def _checked(dump: SeenAnswer) -> Iterator[Looked]:
    try:
        found = check(dump.body.decode("utf-8", "replace"), "config_dump")
    except (Unreadable, json.JSONDecodeError) as error:
        yield Looked("note", f"its configuration cannot be read: {error}")
        return
    errors = [finding for finding in found if finding.severity == "error"]
    for finding in errors:
        yield Looked("wrong", str(finding))
    if not errors:
        yield Looked("ok", f"its configuration has no error that is known here ({len(found)} remarks: extproc check)")
