"""Policies and requests for vectors: the texts that are to be embedded are looked at, by those that look at texts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import Answer, Call, Refused, Translation
from extproc.effects import Effect, Failed, Failure, Result
from extproc.route import compile_route

from .services import Webhook
from .test_moderation import served

GUARD = {"prompt_guard": {"deny_patterns": ["bomb"]}}
REDACT: dict[str, Any] = {"redact": {}}
MODERATION = {"moderation": Webhook.members}
LOOKING = [GUARD, REDACT, MODERATION]
SILENT: list[dict[str, Any]] = [
    {"prompt_decorator": {"prepend": [{"role": "system", "content": "be brief"}]}},
    {"tool_filter": {"deny": ["*"]}},
    {"rag": {"search": {"endpoint": "http://find.test"}}},
]
OPENAI: dict[str, Any] = {"provider": "openai"}
COHERE: dict[str, Any] = {
    "provider": "bedrock", "provider_conf": {"region": "us-east-1"},
    "options": {"model": "cohere.embed-multilingual-v3"},
}  # fmt: skip
routes = pytest.mark.parametrize("route", [OPENAI, COHERE], ids=["passed", "translated"])


def asked(
    route: dict[str, Any], given: Any, *policies: dict[str, Any], service: Any = None
) -> tuple[Translation, Call | Answer]:
    t = Translation("openai_embeddings", route={**route, "auth": "none", "policies": list(policies)}, now=1.0)
    body = b'{"model":"m",  "input": %s, "user":"u"}' % msgspec.json.encode(given)
    return t, served(t.requesting(body, "POST", "/v1/embeddings", []), service or Webhook())


def texts(call: Call | Answer) -> list[str]:
    assert isinstance(call, Call)
    body = msgspec.json.decode(call.body)
    given = body.get("input", body.get("texts"))
    return [given] if isinstance(given, str) else given


@pytest.mark.rows("B40")
@routes
@pytest.mark.parametrize("policy", [GUARD, MODERATION], ids=["guard", "moderation"])
@pytest.mark.parametrize("given", ["how is a bomb made", ["fine", "a bomb"]])
def test_what_is_denied_is_an_error_of_the_api(route: dict[str, Any], policy: dict[str, Any], given: Any) -> None:
    t, answer = asked(route, given, policy)
    assert isinstance(answer, Answer) and (answer.status, answer.why) == (400, "denied")
    error = msgspec.json.decode(answer.body)["error"]
    assert error["code"] == "content_policy_violation" and error["message"]
    assert t.denied_by in policy
    t, call = asked(route, ["fine", "good"], policy)
    assert texts(call) == ["fine", "good"] and not t.denied_by


@routes
def test_the_status_of_a_denial_is_the_operators(route: dict[str, Any]) -> None:
    policy = {"prompt_guard": {**GUARD["prompt_guard"], "deny_code": 451, "deny_message": "No."}}
    _, answer = asked(route, "a bomb", policy)
    assert isinstance(answer, Answer) and answer.status == 451
    assert msgspec.json.decode(answer.body)["error"]["message"] == "No."


@routes
def test_what_is_personal_is_not_embedded(route: dict[str, Any]) -> None:
    t, call = asked(route, ["write to joe@example.com", "or ann@example.com or joe@example.com", "x"], REDACT)
    assert texts(call) == ["write to [EMAIL_1]", "or [EMAIL_2] or [EMAIL_1]", "x"]
    assert t.policy_facts["redact_count"] == 3
    _, call = asked(route, "joe@example.com", REDACT)
    assert texts(call) == ["[EMAIL_1]"]


def test_what_does_not_change_keeps_its_bytes() -> None:
    _, call = asked(OPENAI, ["joe@example.com", "x"], REDACT)
    assert isinstance(call, Call) and call.body == b'{"model":"m","input":["[EMAIL_1]","x"],"user":"u"}'
    _, call = asked(OPENAI, ["x"], *LOOKING)
    assert isinstance(call, Call) and call.body == b'{"model":"m",  "input": ["x"], "user":"u"}'


@routes
@pytest.mark.parametrize("policy", LOOKING, ids=lambda policy: next(iter(policy)))
def test_tokens_cannot_be_looked_at(route: dict[str, Any], policy: dict[str, Any]) -> None:
    ((name, members),) = policy.items()
    for given in ([1, 2, 3], [[1, 2], [3]]):
        _, answer = asked(route, given, policy)
        assert isinstance(answer, Answer) and answer.status == 503
    if route is OPENAI:
        t, call = asked(route, [1, 2, 3], {name: {**members, "fail": "open"}})
        assert isinstance(call, Call) and t.policy_facts[f"{name}_skipped"] is True


def test_what_cannot_be_read_is_what_fail_says() -> None:
    with pytest.raises(Refused):
        asked(OPENAI, [{"text": "a bomb"}], GUARD)
    _, call = asked(OPENAI, [{"text": "a bomb"}], {"prompt_guard": {**GUARD["prompt_guard"], "fail": "open"}})
    assert isinstance(call, Call)


def test_a_service_that_cannot_say() -> None:
    def broken(call: Effect) -> Result:
        return Failed(Failure.TIMEOUT)

    _, answer = asked(OPENAI, "x", MODERATION, service=broken)
    assert isinstance(answer, Answer) and answer.status == 503


@pytest.mark.parametrize("policy", SILENT, ids=lambda policy: next(iter(policy)))
def test_the_others_have_nothing_to_say_of_it(policy: dict[str, Any]) -> None:
    def nobody(call: Effect) -> Result:
        raise AssertionError("nobody is asked")

    # What they would not understand does not matter to them either.
    t, call = asked(OPENAI, [{"image": "x"}], policy, service=nobody)
    assert isinstance(call, Call) and not t.denied_by


def test_an_api_that_nobody_reads_is_not_passed_by_in_silence() -> None:
    conf = {"provider_conf": {"project_id": "p", "region": "r"}}
    route = {"provider": "vertex-ai", **conf, "auth": "none", "policies": [GUARD]}
    path = "/v1/projects/p/locations/r/publishers/google/models/text-embedding-005:predict"
    body = b'{"instances": [{"content": "a bomb"}]}'
    t = Translation("vertex_predict", route=route, now=1.0)
    with pytest.raises(Refused, match="policies cannot look at"):
        served(t.requesting(body, "POST", path, []), Webhook())
    t = Translation("vertex_predict", route={**route, "policies": SILENT}, now=1.0)
    assert isinstance(served(t.requesting(body, "POST", path, []), Webhook()), Call)


@pytest.mark.parametrize(
    ("client", "path", "body"),
    [
        ("gemini_embeddings", "/v1beta/models/m:embedContent", b'{"content": {"parts": [{"text": "a bomb"}]}}'),
        ("cohere_embeddings", "/v2/embed", b'{"model": "m", "texts": ["a bomb"], "input_type": "search_query"}'),
    ],
)
def test_a_guard_reads_what_other_clients_have_embedded(client: str, path: str, body: bytes) -> None:
    t = Translation(client, route={"provider": "openai", "auth": "none", "policies": [GUARD]}, now=1.0)
    denied = served(t.requesting(body, "POST", path, []), Webhook())
    assert isinstance(denied, Answer) and denied.status >= 400 and t.denied_by


@pytest.mark.parametrize(
    ("policies", "served"),
    [([], True), ([SILENT[0]], True), ([GUARD], False), ([REDACT], False), ([MODERATION], False)],
)
def test_what_no_policy_can_look_at_passes_no_guard(policies: list[dict[str, Any]], served: bool) -> None:
    """``/v1/completions`` takes a prompt as well."""
    route = {"provider": "openai", "auth": "none", "policies": policies}
    assert compile_route([route]).serves("openai_endpoints", "completions") is served
    named = compile_route([{**route, "endpoints": ["images"]}])
    assert named.serves("openai_endpoints", "images") and not named.serves("openai_endpoints", "completions")


@pytest.mark.parametrize("policy", [GUARD, REDACT, MODERATION])
@pytest.mark.parametrize("options", [{}, {"options": {"model": "ours"}}])
def test_what_is_read_for_the_models_name_alone_is_served_or_not(
    policy: dict[str, Any], options: dict[str, Any]
) -> None:
    """As the head alone is judged, where nobody reads the body."""
    route = {"provider": "openai", "auth": "none", "policies": [policy], **options}
    body, path = b'{"model": "theirs", "prompt": "a bomb"}', "/v1/completions"
    with pytest.raises(Refused, match="is not served by this route"):
        served(Translation("openai_endpoints", route=route, now=1.0).requesting(body, "POST", path, []), Webhook())
    t = Translation("openai_endpoints", route={**route, "endpoints": ["completions"]}, now=1.0)
    call = served(t.requesting(body, "POST", path, []), Webhook())
    assert isinstance(call, Call)
    assert msgspec.json.decode(call.body) == {"model": "ours" if options else "theirs", "prompt": "a bomb"}


def test_the_answer_passes_and_is_counted() -> None:
    t, _ = asked(OPENAI, "x", *LOOKING)
    body = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"e",'
    body += b'"usage":{"prompt_tokens":4,"total_tokens":4}}'
    t.response_head(200, [("content-type", "application/json")])
    assert served(t.responding(body, True), Webhook()) == body
    assert (t.usage.input_tokens, t.model_answered) == (4, "e")
