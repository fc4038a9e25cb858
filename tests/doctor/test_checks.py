"""What is looked at, on gateways that are scripted to be ill."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import Received, ScriptedAnswer, ScriptedProvider, json_answer, sse_answer
from extproc.doctor import Looked, Patient, examine
from extproc.doctor.checks import _STEPS
from extproc.version import version
from tests.support.ports import free_port

LISTED = {"object": "list", "data": [{"id": "m", "owned_by": "a"}, {"id": "n", "owned_by": "a"}]}


class Ill:
    """A gateway that answers well but for what is put down."""

    def __init__(self, **answers: ScriptedAnswer) -> None:
        self.answers = answers

    def __call__(self, request: Received) -> ScriptedAnswer:
        known = {"/": "root", "/v1/models": "models", "/v1/messages": "messages", "/v1/chat/completions": "chat"}
        name = known.get(request.path, request.path.partition("?")[0].strip("/"))
        if name in self.answers:
            return self.answers[name]
        well = {"messages": as_anthropic.answer, "chat": as_openai.answer}
        return well[name](request) if name in well else json_answer(LISTED if name == "models" else {})


def looked(*, admin: bool = False, requests: bool = True, **answers: ScriptedAnswer) -> list[Looked]:
    with ScriptedProvider(Ill(**answers)) as there:
        url = f"http://127.0.0.1:{there.port}"
        return list(examine(Patient(url, url if admin else "", [], requests)))


def wrong(found: list[Looked]) -> list[str]:
    return [f"{one.what} -> {one.then}" for one in found if one.grade == "wrong"]


def test_a_gateway_that_is_well() -> None:
    found = looked()
    assert wrong(found) == [] and [one.what for one in found if "streamed: first bytes after" in one.what]
    assert {one.what.split()[0] for one in found if " by " in one.what} >= {"m"}, "one of each owner"
    assert not [one for one in looked(requests=False) if " by Open" in one.what]


def test_nobody_there() -> None:
    found = list(examine(Patient(f"http://127.0.0.1:{free_port()}")))
    assert len(found) == 1 and "nothing answers" in found[0].what and "extproc run" in found[0].then


@pytest.mark.parametrize("status", [500, 503])
def test_an_envoy_without_its_sidecar(status: int) -> None:
    assert "extproc serve --listen" in wrong(looked(root=json_answer({}, status)))[0]


@pytest.mark.parametrize(
    ("server", "status", "said"),
    [
        (f"extproc/{version()}", 200, [f"ok: the sidecar is extproc {version()}"]),
        ("extproc/0.0.1", 200, ["note: the sidecar is extproc 0.0.1"]),
        (f"extproc/{version()}", 503, [f"ok: the sidecar is extproc {version()}",
                                       "wrong: the sidecar takes no new streams: draining"]),
        ("nginx", 200, ["wrong: {} is no admin port of a sidecar's"]),
    ],
)  # fmt: skip
def test_the_sidecars_version_and_health(server: str, status: int, said: list[str]) -> None:
    answer = ScriptedAnswer([b"draining"], status, (("server", server), ("content-type", "text/plain")))
    with ScriptedProvider(Ill(readyz=answer)) as there:
        url = f"http://127.0.0.1:{there.port}"
        found = list(examine(Patient(url, requests=False, sidecar=url)))
    assert [f"{one.grade}: {one.what}" for one in found if url in one.what or "the sidecar" in one.what] == [
        line.format(url) for line in said
    ]


def test_a_sidecar_whose_admin_port_is_elsewhere() -> None:
    with ScriptedProvider(Ill()) as there:
        url = f"http://127.0.0.1:{there.port}"
        found = wrong(list(examine(Patient(url, requests=False, sidecar=f"http://127.0.0.1:{free_port()}"))))
    assert len(found) == 1 and "extproc serve --admin" in found[0]


def test_another_server() -> None:
    found = looked(root=json_answer({}, 404), models=json_answer({}, 404), requests=False)
    assert [one.grade for one in found] == ["note", "note"]


@pytest.mark.parametrize(("ahead", "word"), [(400.0, "ahead of"), (-400.0, "behind")])
def test_a_clock_that_is_wrong(ahead: float, word: str) -> None:
    date = formatdate(time.time() + ahead, usegmt=True)
    found = wrong(looked(root=json_answer({}, 200, (("date", date),)), requests=False))
    assert len(found) == 1 and word in found[0] and "set-ntp" in found[0]


CHAT_ERROR = {"error": {"message": "why", "type": "x"}}
MESSAGES_ERROR = {"type": "error", "error": {"message": "why", "type": "x"}}


@pytest.mark.parametrize("status", list(_STEPS))
def test_each_status_has_a_next_step(status: int) -> None:
    found = wrong(looked(chat=json_answer(CHAT_ERROR, status), messages=json_answer(MESSAGES_ERROR, status)))
    assert len(found) == 4 and all(f"{status}: why -> {_STEPS[status]}" in line for line in found), found


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ({"chat": json_answer({}, 502)}, "not in that API's shape"),
        ({"chat": json_answer(MESSAGES_ERROR | {"x": 1})}, "the answer is not of that API"),
        ({"messages": json_answer({"hello": 1})}, "this path is not translated here"),
        ({"messages": sse_answer([b"event: message_start\ndata: {}\n\n"])}, "without its end"),
        ({"chat": sse_answer([b"data: {}\n\n"])}, "without its end"),
        ({"chat": ScriptedAnswer([b"x"], ending="reset")}, "the transfer broke off"),
        ({"models": json_answer({}, 500)}, "GET /v1/models is answered with 500"),
        ({"models": json_answer([])}, "GET /v1/models is answered with 200"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(answers: dict[str, ScriptedAnswer], word: str) -> None:
    with ScriptedProvider(Ill(**answers)) as there:
        found = list(examine(Patient(f"http://127.0.0.1:{there.port}", models=["m"])))
    assert [line for line in wrong(found) if word in line], found


def test_what_envoy_says_is_not_taken_for_the_providers_word() -> None:
    unreached = {
        "type": "error",
        "error": {"message": "no upstream could be reached (why)", "type": "overloaded_error"},
    }
    found = wrong(looked(messages=json_answer(unreached, 529)))
    assert found and all(line.endswith(_STEPS[503]) for line in found)


def test_what_was_lost_is_told() -> None:
    whole = {"object": "chat.completion", "choices": []}
    answer = json_answer(whole, 200, (("x-llm-translation", "top_k:dropped"),))
    assert [one for one in looked(chat=answer) if "(lost: top_k:dropped)" in one.what]


# ---- what Envoy says

HOST = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 50051}}}


def envoy(host: dict[str, Any] | None, stats: list[dict[str, Any]], info: Any = None) -> list[Looked]:
    clusters = {"cluster_statuses": [{"name": "extproc", "host_statuses": [host] if host else []}]}
    said = {
        "server_info": json_answer(info or {"version": "abc/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE"}),
        "clusters": json_answer(clusters),
        "stats": json_answer({"stats": stats}),
        "config_dump": json_answer({"configs": []}),
    }
    return looked(admin=True, requests=False, **said)


COUNT = {"name": "http.llm.ext_proc.streams_started", "value": 3}


@pytest.mark.parametrize(
    ("host", "stats", "info", "word"),
    [
        (HOST | {"stats": [{"name": "cx_active", "value": "1"}]}, [COUNT], None, "ok: the sidecar at 127.0.0.1:50051"),
        (HOST | {"stats": [{"name": "cx_connect_fail", "value": "2"}]}, [COUNT], None,
         "wrong: the sidecar at 127.0.0.1:50051 is not reached: connections fail -> extproc health 127.0.0.1:50051"),
        (HOST | {"health_status": {"failed_active_health_check": True}}, [COUNT], None,
         "wrong: the sidecar at 127.0.0.1:50051 is not reached: failed_active_health_check"),
        ({"address": {"pipe": {"path": "/run/x.sock"}}}, [COUNT], None, "ok: the sidecar at /run/x.sock"),
        (None, [COUNT], None, "wrong: the cluster extproc has no host"),
        (HOST, [], None, "wrong: Envoy has no ext_proc filter"),
        (HOST, [{"name": "a.ext_proc.message_timeouts", "value": 4}], None,
         "note: since Envoy started: a.ext_proc.message_timeouts 4"),
        (HOST, [COUNT], {"version": "x/1.20.1/Clean", "state": "LIVE"},
         "note: Envoy 1.20.1, LIVE -> the tests run on 1.37"),
    ],
)  # fmt: skip
def test_what_envoy_says(host: Any, stats: list[dict[str, Any]], info: Any, word: str) -> None:
    found = [f"{one.grade}: {one.what} -> {one.then}" for one in envoy(host, stats, info)]
    assert [line for line in found if line.startswith(word)], found


def test_an_admin_that_does_not_answer() -> None:
    found = list(examine(Patient(f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")))
    assert "Envoy's admin does not answer" in found[-1].what


def test_a_configuration_that_cannot_be_read_is_said() -> None:
    with ScriptedProvider(Ill(config_dump=ScriptedAnswer([b"\x00"]))) as there:
        url = f"http://127.0.0.1:{there.port}"
        found = list(examine(Patient(url, url, requests=False)))
    assert "cannot be read" in found[-1].what and json.dumps(found[-1].grade) == '"note"'
