"""Services that moderate, as each documents itself: every one flags what has an unwanted word in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from extproc.effects import Effect, HttpAnswer, HttpCall, Result
from tests.support.sigv4 import verified


class Webhook:
    """A service by our own shape."""

    members: dict[str, Any] = {"endpoint": "http://guard.test/judge"}
    levels = ("none", "high")

    def __init__(self, unwanted: str = "bomb") -> None:
        self.unwanted = unwanted
        self.asked: list[tuple[str, str]] = []
        self.calls: list[HttpCall] = []

    def __call__(self, call: Effect) -> Result:
        assert isinstance(call, HttpCall)
        self.calls.append(call)
        phase, text = self.read(call)
        self.asked.append((phase, text))
        return HttpAnswer(200, (("content-type", "application/json"),), self.answered(self.unwanted in text))

    def read(self, call: HttpCall) -> tuple[str, str]:
        """Phase and text."""
        body = msgspec.json.decode(call.body)
        assert set(body) == {"phase", "text", "model", "request_id"}
        return body["phase"], body["text"]

    def answered(self, flagged: bool) -> bytes:
        return msgspec.json.encode({"flagged": flagged, "categories": ["violence"] * flagged})


class OpenAi(Webhook):
    members = {"provider": "openai", "api_key": "SECRET-moderation"}

    def read(self, call: HttpCall) -> tuple[str, str]:
        body = msgspec.json.decode(call.body)
        assert body["model"] == "omni-moderation-latest" and set(body) == {"model", "input"}
        return "", body["input"]

    def answered(self, flagged: bool) -> bytes:
        result = {
            "flagged": flagged,
            "categories": {"violence": flagged, "harassment": False},
            "category_scores": {"violence": 0.98 if flagged else 0.001, "harassment": 0.0001},
            "category_applied_input_types": {"violence": ["text"], "harassment": ["text"]},
        }
        return msgspec.json.encode({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})


class AliyunService(Webhook):
    """It verifies what it is sent, by the steps of Aliyun's RPC signature."""

    members = {
        "provider": "aliyun", "region_id": "cn-shanghai", "access_key_id": "AKID", "access_key_secret": "SECRET-aliyun",
    }  # fmt: skip

    def __init__(self, unwanted: str = "bomb") -> None:
        super().__init__(unwanted)
        self.nonces: set[str] = set()

    def read(self, call: HttpCall) -> tuple[str, str]:
        assert call.url == "https://green-cip.cn-shanghai.aliyuncs.com/"
        assert dict(call.headers)["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True))
        signature = form.pop("Signature")
        pairs = [f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(form.items())]
        text = "&".join(["POST", quote("/", safe=""), quote("&".join(pairs), safe="-_.~")])
        digest = hmac.new(b"SECRET-aliyun&", text.encode(), hashlib.sha1).digest()
        assert signature == base64.b64encode(digest).decode()
        assert (form["Action"], form["Version"], form["Format"]) == ("TextModerationPlus", "2022-03-02", "JSON")
        assert form["SignatureNonce"] not in self.nonces and form["Timestamp"].endswith("Z")
        self.nonces.add(form["SignatureNonce"])
        phases = {"llm_query_moderation": "request", "llm_response_moderation": "response"}
        asked = msgspec.json.decode(form["ServiceParameters"])
        assert set(asked) == {"sessionId", "content"}
        return phases[form["Service"]], asked["content"]

    def answered(self, flagged: bool) -> bytes:
        label = {"Label": "violence" if flagged else "nonLabel", "Confidence": 97.5, "Description": "x"}
        data = {"RiskLevel": "high" if flagged else "none", "Result": [label], "Advice": []}
        return msgspec.json.encode({"Code": 200, "Data": data, "Message": "OK", "RequestId": "r"})


class AzureService(Webhook):
    members = {
        "provider": "azure_content_safety", "endpoint": "https://ours.cognitiveservices.azure.com",
        "api_key": "SECRET-azure",
    }  # fmt: skip

    def read(self, call: HttpCall) -> tuple[str, str]:
        where = "https://ours.cognitiveservices.azure.com/contentsafety/text:analyze?api-version=2024-09-01"
        assert call.url == where and dict(call.headers)["ocp-apim-subscription-key"] == "SECRET-azure"
        body = msgspec.json.decode(call.body)
        assert body["outputType"] == "FourSeverityLevels" and len(body["text"]) <= 10_000
        return "", body["text"]

    def answered(self, flagged: bool) -> bytes:
        severity = {"Hate": 0, "SelfHarm": 0, "Sexual": 0, "violence".title(): 6 if flagged else 2}
        found = [{"category": name, "severity": each} for name, each in severity.items()]
        return msgspec.json.encode({"blocklistsMatch": [], "categoriesAnalysis": found})


class GuardrailService(Webhook):
    """It verifies the signature."""

    members = {
        "provider": "bedrock_guardrail", "guardrail": "arn:aws:bedrock:eu-west-1:123456789012:guardrail/abc123",
        "version": "2", "region": "eu-west-1",
        "auth": {"aws": {"access_key_id": "AKID", "secret_access_key": "SECRET-aws"}},
    }  # fmt: skip

    def read(self, call: HttpCall) -> tuple[str, str]:
        url = urlsplit(call.url)
        assert url.netloc == "bedrock-runtime.eu-west-1.amazonaws.com"
        assert unquote(url.path) == f"/guardrail/{self.members['guardrail']}/version/2/apply"
        assert "/" not in url.path.removeprefix("/guardrail/").removesuffix("/version/2/apply"), "one segment"
        assert verified("POST", url.path, {**dict(call.headers), "host": url.netloc}, call.body, "SECRET-aws")
        body = msgspec.json.decode(call.body)
        (content,) = body["content"]
        return {"INPUT": "request", "OUTPUT": "response"}[body["source"]], content["text"]["text"]

    def answered(self, flagged: bool) -> bytes:
        violence = {"type": "violence", "confidence": "HIGH", "filterStrength": "HIGH", "action": "BLOCKED"}
        answer = {
            "action": "GUARDRAIL_INTERVENED" if flagged else "NONE",
            "outputs": [],
            "assessments": [{"contentPolicy": {"filters": [violence]}} if flagged else {}],
            "usage": {"contentPolicyUnits": 1, "topicPolicyUnits": 1},
            "guardrailCoverage": {"textCharacters": {"guarded": 9, "total": 9}},
        }
        return msgspec.json.encode(answer)


ALL: list[type[Webhook]] = [Webhook, OpenAi, AliyunService, AzureService, GuardrailService]
