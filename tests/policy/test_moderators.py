"""What each service is sent, and what its answer means. How the policy uses them is in ``test_moderation.py``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from extproc import Answer, Call, Translation
from extproc.dialects.base import ResponseHead
from extproc.effects import Effect, HttpAnswer, HttpCall, Result
from extproc.llm.request import Message
from extproc.policy.moderators import LEVELS, SERVICES, rpc_signed
from extproc.route import RouteError

from .clients import exchange, parsed, text_of
from .services import ALL, AliyunService, AzureService, GuardrailService, OpenAi, Webhook
from .test_moderation import ask, moderated


def told(t: Translation, answer: Call | Answer) -> tuple[bool, Any, Any]:
    """Whether it was denied, the categories, and the level of risk."""
    facts = t.policy_facts
    return isinstance(answer, Answer), facts.get("moderation_categories"), facts.get("llm_content_risk_level")


def says(kind: type[Webhook], answer: Any, **members: Any) -> tuple[bool, Any, Any]:
    """What comes of a request about which the service answers *answer*."""
    t = moderated("openai_chat", "openai_chat", kind, **members)

    def service(call: Effect) -> Result:
        assert isinstance(call, HttpCall)
        return HttpAnswer(200, (), msgspec.json.encode(answer))

    return told(t, ask(t, service))


def test_all_are_known_by_name() -> None:
    assert sorted(SERVICES) == sorted(kind.members.get("provider", "webhook") for kind in ALL)


def test_a_signature_of_aliyuns_is_the_documented_one() -> None:
    """The example of Aliyun's own documentation of the RPC signature."""
    parameters = {
        "Timestamp": "2016-02-23T12:46:24Z", "Format": "XML", "AccessKeyId": "testid", "Action": "DescribeRegions",
        "SignatureMethod": "HMAC-SHA1", "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "Version": "2014-05-26", "SignatureVersion": "1.0",
    }  # fmt: skip
    form = rpc_signed(parameters, "testsecret", "GET").decode()
    assert form.startswith("AccessKeyId=testid&Action=DescribeRegions&Format=XML&SignatureMethod=HMAC-SHA1&")
    assert form.endswith("&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("bar", LEVELS)
def test_aliyuns_level_and_the_bar(level: str, bar: str) -> None:
    label = {"Label": "contraband_drug", "Confidence": 88.0}
    answer = {"Code": 200, "Data": {"RiskLevel": level, "Result": [label], "Advice": None}, "Message": "OK"}
    denied, _, risk = says(AliyunService, answer, risk_level_bar=bar)
    assert denied is (LEVELS.index(level) >= LEVELS.index(bar)) and risk == level


@pytest.mark.parametrize(
    "answer",
    [
        {"Code": 400, "Message": "InvalidParameter"},
        {"Code": 588, "Data": {"RiskLevel": "none"}, "Message": "over quota"},
        {"Code": 200, "Data": {"RiskLevel": "sky"}},
        {"Code": 200, "Data": {}},
    ],
)
def test_an_answer_of_aliyuns_without_a_level_says_nothing(answer: Any) -> None:
    denied, categories, risk = says(AliyunService, answer)
    assert denied and categories is None and risk is None, "it is what fail says: closed"
    assert says(AliyunService, answer, fail="open")[0] is False


def test_what_a_service_would_have_the_client_told() -> None:
    advice = {"Code": 200, "Data": {"RiskLevel": "high", "Advice": [{"HitLabel": "x", "Answer": "Ask a doctor."}]}}
    block = {"type": "Drugs", "action": "BLOCKED"}
    masks = {"type": "EMAIL", "action": "ANONYMIZED", "match": "a@b.c"}

    def guarded(*entities: Any) -> Any:
        policy = {"sensitiveInformationPolicy": {"piiEntities": entities, "regexes": []}}
        return {"action": "GUARDRAIL_INTERVENED", "outputs": [{"text": "Sorry."}], "assessments": [policy]}

    def heard(kind: type[Webhook], answer: Any, **members: Any) -> str:
        t = moderated("openai_chat", "openai_chat", kind, **members)
        denied = ask(t, lambda _: HttpAnswer(200, (), msgspec.json.encode(answer)))
        assert isinstance(denied, Answer)
        return text_of(parsed("openai_chat", ResponseHead(200, denied.headers), denied.body, stream=False))

    assert heard(AliyunService, advice) == "Ask a doctor."
    assert heard(AliyunService, advice, deny_message="No.") == "No."
    assert heard(GuardrailService, guarded(block)) == "Sorry."
    assert heard(GuardrailService, guarded(masks)) == "The content was flagged by moderation", (
        "that is the client's own"
    )


def analysis(*lists: str, **severities: int) -> dict[str, Any]:
    found = [{"category": name, "severity": severity} for name, severity in severities.items()]
    matches = [{"blocklistName": name, "blocklistItemId": "i", "blocklistItemText": "t"} for name in lists]
    return {"categoriesAnalysis": found, "blocklistsMatch": matches}


@pytest.mark.parametrize(
    ("answer", "members", "outcome"),
    [
        (analysis(Hate=2, Violence=0), {}, (False, None, "low")),
        (analysis(Hate=4, Violence=6), {}, (True, "Hate,Violence", "high")),
        (analysis(Hate=4), {"risk_level_bar": "high"}, (False, None, "medium")),
        (analysis(Hate=2), {"risk_level_bar": "low"}, (True, "Hate", "low")),
        (analysis(Hate=4, Sexual=2), {"thresholds": {"Hate": 6, "Sexual": 2}}, (True, "Sexual", "medium")),
        (analysis("names", Hate=0), {"blocklists": ["names"]}, (True, "names", "high")),
        (analysis(Hate=6), {"categories": ["Sexual"]}, (False, None, "high")),
    ],
)
def test_severities_of_azures(answer: Any, members: dict[str, Any], outcome: Any) -> None:
    assert says(AzureService, answer, **members) == outcome


def test_azures_block_lists_are_named_to_it() -> None:
    service = AzureService()
    ask(moderated("openai_chat", "openai_chat", AzureService, blocklists=["names"]), service)
    assert msgspec.json.decode(service.calls[0].body)["blocklistNames"] == ["names"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"action": "NONE", "outputs": [], "assessments": [{}]}, (False, None, "none")),
        (
            {"action": "NONE", "assessments": [{"contentPolicy": {"filters": [
                {"type": "HATE", "confidence": "LOW", "action": "NONE"}]}}]},
            (False, None, "none"),
        ),
        (
            {"action": "GUARDRAIL_INTERVENED", "assessments": [{
                "contentPolicy": {"filters": [{"type": "HATE", "confidence": "MEDIUM", "action": "BLOCKED"},
                                              {"type": "SEXUAL", "confidence": "HIGH", "action": "NONE"}]},
                "topicPolicy": {"topics": [{"name": "Money", "type": "DENY", "action": "BLOCKED"}]},
                "invocationMetrics": {"guardrailProcessingLatency": 9, "usage": {"topicPolicyUnits": 1}}}]},
            (True, "DENY,HATE", "medium"),
        ),
        (
            {"action": "GUARDRAIL_INTERVENED", "assessments": [{"wordPolicy": {
                "customWords": [{"match": "x", "action": "BLOCKED"}], "managedWordLists": []}}]},
            (True, "word", "high"),
        ),
        ({"action": "GUARDRAIL_INTERVENED"}, (True, "", "high")),
        ({"action": "SOMETHING"}, (True, None, None)),
    ],
)  # fmt: skip
def test_what_a_guardrail_did(answer: Any, outcome: Any) -> None:
    assert says(GuardrailService, answer) == outcome


def scores(flagged: bool, **found: float) -> dict[str, Any]:
    result = {"flagged": flagged, "categories": dict.fromkeys(found, flagged), "category_scores": found}
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


@pytest.mark.parametrize(
    ("answer", "members", "outcome"),
    [
        (scores(False, violence=0.3), {}, (False, None, "none")),
        (scores(False, violence=0.3, hate=0.9), {"thresholds": {"violence": 0.2}}, (True, "violence", "high")),
        (scores(True, violence=0.6), {"thresholds": {"violence": 0.7}}, (False, None, "none")),
    ],
)
def test_scores_of_openais(answer: Any, members: dict[str, Any], outcome: Any) -> None:
    assert says(OpenAi, answer, **members) == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"flagged": True, "risk_level": "max"}, (True, "", "max")),
        ({"flagged": False, "risk_level": "low", "more": 1}, (False, None, "low")),
        ({"flagged": True, "risk_level": "sky"}, (True, "", "high")),
    ],
)
def test_a_webhook_may_tell_the_level(answer: Any, outcome: Any) -> None:
    assert says(Webhook, answer) == outcome


def test_a_guardrails_time_is_that_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is good for some minutes, and a stream may take longer than that."""
    now = iter([100.0, 100.0, 100.5, 1000.0, 1000.5])
    monkeypatch.setattr("extproc.policy.moderation.time", SimpleNamespace(monotonic=lambda: next(now)))
    service = GuardrailService()
    t = moderated("openai_chat", "openai_chat", GuardrailService, max_chars=200)
    ask(t, service, Message("user", "x" * 250))
    first, second = (dict(call.headers)["x-amz-date"] for call in service.calls)
    assert (first, second) == ("19700101T000001Z", "19700101T001501Z")


@pytest.mark.parametrize(
    ("kind", "members", "problem"),
    [
        (AliyunService, {"region_id": None}, "moderation.region_id: is needed"),
        (AliyunService, {"risk_level_bar": "sky"}, "moderation.risk_level_bar: choose one of: high, none, low"),
        (AliyunService, {"max_chars": 2001}, "moderation.max_chars: the service takes 2000 at most"),
        (AzureService, {"api_key": None}, "moderation.api_key: is needed"),
        (AzureService, {"thresholds": {"Hat": 2}}, "moderation.thresholds.Hat: expected a severity, 2, 4 or 6"),
        (AzureService, {"thresholds": {"Hate": "2"}}, "moderation.thresholds: expected a mapping of text to a number"),
        (GuardrailService, {"guardrail": None}, "moderation.guardrail: is needed"),
        (GuardrailService, {"auth": {"aws": {"access_key_id": "a"}}}, "moderation: auth.aws: access_key_id and"),
        (GuardrailService, {"api_key": "x"}, "moderation.api_key: unknown key; choose one of: fail, provider, guard"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(kind: type[Webhook], members: dict[str, Any], problem: str) -> None:
    given = {name: value for name, value in {**kind.members, **members}.items() if value is not None}
    with pytest.raises(RouteError) as wrong:
        exchange("openai_chat", "openai_chat", {"moderation": given})
    assert problem in str(wrong.value)
