"""The services that ``moderation`` asks, each by what it documents: how it is shown a text, and what
its answer means.

======================== =======================================================================================
``webhook``              one of the operator's own, by the shape that docs/policies.md shows
``openai``               OpenAI's moderations API, which others serve too (OpenAI API reference, Nov 2026)
``aliyun``               Aliyun's TextModerationPlus, version 2022-03-02, signed by RPC's signature version 1.0
``azure_content_safety`` Azure AI Content Safety, ``text:analyze``, api-version 2024-09-01
``bedrock_guardrail``    Amazon Bedrock's ApplyGuardrail (Amazon Bedrock API reference, Nov 2026), signed
======================== =======================================================================================
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from ..credentials.secrets import Secret
from ..effects import HttpCall, Pairs
from ..frozen import Frozen
from .base import Served
from .given import Given

LEVELS = ("none", "low", "medium", "high", "max")
"""Of risk, from none on."""
OPENAI_URL = "https://api.openai.com/v1/moderations"
_JSON: Pairs = (("content-type", "application/json"),)


class Shown(Frozen):
    """A text that a service is asked about. ``number`` tells it from the others of its exchange; ``now`` is Unix
    seconds."""

    phase: str
    """``request`` or ``response``."""
    text: str
    model: str
    request_id: str
    number: int
    now: float


class Verdict(Frozen):
    """What a service says of a text. ``level``: how great the risk is, of LEVELS. ``answer``: what it would have the
    client told, empty if that is left to us."""

    flagged: bool
    categories: list[str]
    level: str
    answer: str = ""


class Moderator(Protocol):
    @property
    def max_chars(self) -> int:
        """Characters of one text, unless the operator says otherwise."""
        ...

    @property
    def most_chars(self) -> int:
        """And whatever they say."""
        ...

    def call(self, shown: Shown, seconds: float) -> HttpCall: ...

    def verdict(self, body: bytes) -> Verdict:
        """What an answer with status 200 means. Raises msgspec.DecodeError (ValidationError is one), ValueError."""
        ...


def _bearer(key: Secret | None) -> Pairs:
    return _JSON if key is None else (*_JSON, ("authorization", f"Bearer {key.reveal()}"))


def _highest(levels: list[str]) -> str:
    return max(levels, key=LEVELS.index, default=LEVELS[0])


# ---- the operator's own


class _Told(msgspec.Struct, frozen=True):
    flagged: bool
    categories: list[str] = []
    risk_level: str = ""


class Webhook(Frozen):
    url: str
    key: Secret | None
    max_chars: int = 8000
    most_chars: int = 1 << 62

    def call(self, shown: Shown, seconds: float) -> HttpCall:
        asked = {"phase": shown.phase, "text": shown.text, "model": shown.model, "request_id": shown.request_id}
        return HttpCall(
            self.url, headers=_bearer(self.key), body=msgspec.json.encode(asked), seconds=seconds, safe=True
        )

    def verdict(self, body: bytes) -> Verdict:
        told = msgspec.json.decode(body, type=_Told)
        level = told.risk_level if told.risk_level in LEVELS else LEVELS[3 if told.flagged else 0]
        return Verdict(told.flagged, told.categories, level)


def _webhook(given: Given) -> Moderator:
    return Webhook(given.url("endpoint"), given.secret_if_any("api_key"))


# ---- OpenAI


class _Result(msgspec.Struct, frozen=True):
    flagged: bool
    categories: dict[str, bool | None] = {}
    category_scores: dict[str, float | None] = {}


class _Results(msgspec.Struct, frozen=True):
    results: list[_Result]


class OpenAi(Frozen):
    url: str
    key: Secret
    model: str
    thresholds: dict[str, float]
    """Score from which a category counts; empty: what the service flags."""
    max_chars: int = 8000
    most_chars: int = 1 << 62

    def call(self, shown: Shown, seconds: float) -> HttpCall:
        body = msgspec.json.encode({"model": self.model, "input": shown.text})
        return HttpCall(self.url, headers=_bearer(self.key), body=body, seconds=seconds, safe=True)

    def verdict(self, body: bytes) -> Verdict:
        results = msgspec.json.decode(body, type=_Results).results
        if not results:
            raise ValueError("no results")
        if self.thresholds:
            scores = [pair for result in results for pair in result.category_scores.items()]
            names = [name for name, score in scores if (score or 0.0) >= self.thresholds.get(name, 2.0)]
            flagged = bool(names)
        else:
            names = [name for result in results for name, is_so in result.categories.items() if is_so]
            flagged = any(result.flagged for result in results)
        return Verdict(flagged, names, LEVELS[3 if flagged else 0])


def _openai(given: Given) -> Moderator:
    url, key = given.url("endpoint", OPENAI_URL), given.secret("api_key")
    return OpenAi(url, key, given.text("model", "omni-moderation-latest"), given.numbers("thresholds"))


# ---- Aliyun


class _Label(msgspec.Struct, frozen=True, rename="pascal"):
    label: str | None = None


class _Advice(msgspec.Struct, frozen=True, rename="pascal"):
    answer: str | None = None


class _Data(msgspec.Struct, frozen=True, rename="pascal"):
    risk_level: str
    result: list[_Label] | None = None
    advice: list[_Advice] | None = None


class _Moderated(msgspec.Struct, frozen=True, rename="pascal"):
    code: int
    data: _Data


class Aliyun(Frozen):
    url: str
    region: str
    key_id: Secret
    key: Secret
    services: Mapping[str, str]
    """By phase."""
    bar: int
    """The level, as a place in LEVELS, from which on a text is flagged."""
    max_chars: int = 2000
    most_chars: int = 2000

    def call(self, shown: Shown, seconds: float) -> HttpCall:
        asked = {"sessionId": shown.request_id, "content": shown.text}
        unique = f"{shown.request_id} {shown.now!r} {shown.number}"
        parameters = {
            "AccessKeyId": self.key_id.reveal(),
            "Action": "TextModerationPlus",
            "Format": "JSON",
            "RegionId": self.region,
            "Service": self.services[shown.phase],
            "ServiceParameters": msgspec.json.encode(asked).decode(),
            "SignatureMethod": "HMAC-SHA1",
            "SignatureNonce": hashlib.sha256(unique.encode()).hexdigest()[:32],
            "SignatureVersion": "1.0",
            "Timestamp": datetime.fromtimestamp(shown.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Version": "2022-03-02",
        }
        form = rpc_signed(parameters, self.key.reveal())
        headers = (("content-type", "application/x-www-form-urlencoded"),)
        return HttpCall(self.url, headers=headers, body=form, seconds=seconds, safe=True)

    def verdict(self, body: bytes) -> Verdict:
        told = msgspec.json.decode(body, type=_Moderated)
        if told.code != 200 or told.data.risk_level not in LEVELS:
            raise ValueError("no level of risk")
        flagged = LEVELS.index(told.data.risk_level) >= self.bar
        names = [each.label for each in told.data.result or [] if each.label and each.label != "nonLabel"]
        answer = next((each.answer for each in told.data.advice or [] if each.answer), "")
        return Verdict(flagged, names, told.data.risk_level, answer)


def rpc_signed(parameters: Mapping[str, str], secret: str, method: str = "POST") -> bytes:
    """*parameters* as the form of a request by *method* to the path ``/``, with the signature that Aliyun's RPC APIs
    ask for (version 1.0)."""
    form = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(parameters.items()))
    signed = hmac.digest(f"{secret}&".encode(), f"{method}&%2F&{quote(form, safe='')}".encode(), "sha1")
    return f"{form}&Signature={quote(base64.b64encode(signed), safe='')}".encode()


def _aliyun(given: Given) -> Moderator:
    region = given.text("region_id")
    services = {
        "request": given.text("request_check_service", "llm_query_moderation"),
        "response": given.text("response_check_service", "llm_response_moderation"),
    }
    url = given.url("endpoint", f"https://green-cip.{region}.aliyuncs.com").rstrip("/") + "/"
    bar = LEVELS.index(given.choice("risk_level_bar", ("high", "none", "low", "medium", "max")))
    return Aliyun(url, region, given.secret("access_key_id"), given.secret("access_key_secret"), services, bar)


# ---- Azure


class _Severity(msgspec.Struct, frozen=True):
    category: str
    severity: int = 0


class _Match(msgspec.Struct, frozen=True, rename="camel"):
    blocklist_name: str = ""


class _Analysis(msgspec.Struct, frozen=True, rename="camel"):
    categories_analysis: list[_Severity]
    blocklists_match: list[_Match] | None = None


class AzureContentSafety(Frozen):
    url: str
    key: Secret
    bar: int
    """The severity, of 0, 2, 4 and 6, from which on a category counts."""
    thresholds: dict[str, float]
    """Where that of a category is another."""
    blocklists: list[str]
    max_chars: int = 8000
    most_chars: int = 10_000

    def call(self, shown: Shown, seconds: float) -> HttpCall:
        asked: dict[str, Any] = {"text": shown.text, "outputType": "FourSeverityLevels"}
        if self.blocklists:
            asked |= {"blocklistNames": self.blocklists, "haltOnBlocklistHit": False}
        headers = (*_JSON, ("ocp-apim-subscription-key", self.key.reveal()))
        return HttpCall(self.url, headers=headers, body=msgspec.json.encode(asked), seconds=seconds, safe=True)

    def verdict(self, body: bytes) -> Verdict:
        told = msgspec.json.decode(body, type=_Analysis)
        found = [each for each in told.categories_analysis if self._counts(each)]
        listed = [match.blocklist_name for match in told.blocklists_match or []]
        levels = [LEVELS[min(max(each.severity, 0) // 2, 3)] for each in told.categories_analysis]
        level = _highest([*levels, "high"] if listed else levels)
        return Verdict(bool(found or listed), [each.category for each in found] + listed, level)

    def _counts(self, found: _Severity) -> bool:
        return found.severity >= self.thresholds.get(found.category, self.bar)


def _azure(given: Given) -> Moderator:
    url = f"{given.url('endpoint').rstrip('/')}/contentsafety/text:analyze?api-version=2024-09-01"
    bar = 2 * LEVELS.index(given.choice("risk_level_bar", ("medium", "low", "high")))
    thresholds, lists = given.numbers("thresholds"), given.texts("blocklists") or []
    for name, severity in thresholds.items():
        if name not in _AZURES or not 1 <= severity <= 6:
            problem = f"expected a severity, 2, 4 or 6, for each of: {', '.join(_AZURES)}"
            raise given.error(f"thresholds.{name}", problem)
    return AzureContentSafety(url, given.secret("api_key"), bar, thresholds, lists)


_AZURES = ("Hate", "SelfHarm", "Sexual", "Violence")


# ---- Bedrock


class _Output(msgspec.Struct, frozen=True):
    text: str | None = None


class _Applied(msgspec.Struct, frozen=True):
    action: str
    outputs: list[_Output] | None = None
    assessments: list[dict[str, Any]] | None = None


class BedrockGuardrail(Frozen):
    served: Served
    path: str
    max_chars: int = 8000
    most_chars: int = 1 << 62

    def call(self, shown: Shown, seconds: float) -> HttpCall:
        source = "INPUT" if shown.phase == "request" else "OUTPUT"
        asked = {"source": source, "content": [{"text": {"text": shown.text}}], "outputScope": "INTERVENTIONS"}
        return self.served.call(self.path, msgspec.json.encode(asked), seconds=seconds, now=shown.now)

    def verdict(self, body: bytes) -> Verdict:
        told = msgspec.json.decode(body, type=_Applied)
        if told.action not in ("NONE", "GUARDRAIL_INTERVENED"):
            raise ValueError("no known action")
        found = [each for assessment in told.assessments or [] for each in _acted(assessment)]
        names = [str(each.get("type") or each.get("name") or "word") for each in found]
        flagged = told.action != "NONE"
        sure = [str(each.get("confidence", "")).lower() for each in found]
        level = _highest([level for level in sure if level in LEVELS]) if flagged else LEVELS[0]
        # What it would only mask it tells in the text's own words.
        blocked = any(each.get("action") == "BLOCKED" for each in found)
        answer = next((each.text for each in told.outputs or [] if each.text), "") if blocked else ""
        return Verdict(flagged, names, LEVELS[3] if flagged and level == LEVELS[0] else level, answer)


def _acted(assessment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What in an assessment, whatever policy's, had the guardrail act."""
    lists = [each for policy in assessment.values() if isinstance(policy, dict) for each in policy.values()]
    found = [each for items in lists if isinstance(items, list) for each in items if isinstance(each, dict)]
    return [each for each in found if each.get("action", "NONE") != "NONE"]


def _bedrock(given: Given) -> Moderator:
    guardrail, version = given.text("guardrail"), given.text("version", "DRAFT")
    path = f"/guardrail/{quote(guardrail, safe='')}/version/{quote(version, safe='')}/apply"
    return BedrockGuardrail(given.hosted("bedrock"), path)


SERVICES: dict[str, Callable[[Given], Moderator]] = {
    "webhook": _webhook,
    "openai": _openai,
    "aliyun": _aliyun,
    "azure_content_safety": _azure,
    "bedrock_guardrail": _bedrock,
}
"""By the name that ``moderation.provider`` has for them."""
