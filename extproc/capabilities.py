"""What a model can do, from data: the packaged ``capabilities.yaml``, the operator's file over it, a route's quirks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

_VENDOR = re.compile(r"^(?:(?:us|eu|apac|global|jp|au|ca)\.)?(?:anthropic\.|anthropic/|openai/|azure/|models/|google/)")
_DATE = re.compile(r"(?:@.*|-v\d+(?::\d+)?|[-]20\d{6})$")
_DOT = re.compile(r"(?<=\d)\.(?=\d)")


class Capabilities(Struct, frozen=True, forbid_unknown_fields=True):
    """One model at one provider. The defaults are those of an unknown model: it may do everything."""

    max_output: int | None = None
    """Most tokens that it can answer with; ``None``: not known, so nothing is clamped."""
    efforts: list[str] | None = None
    """The words that its reasoning effort takes; ``None``: any."""
    reasoning: bool = True
    """It can be told how much to think."""
    sampling: bool = True
    """It takes temperature, top_p, top_k and penalties."""
    temperature_with_top_p: bool = True
    stop: bool = True
    """It takes stop sequences."""
    web_search: bool = False
    """OpenAI's search models, which take ``web_search_options``."""

    # ---- Anthropic's models
    thinking: Literal["none", "budget", "adaptive"] = "none"
    budget_too: bool = False
    """An adaptive model that still takes a budget."""
    thinking_default: Literal["off", "on", "always"] = "off"
    thinking_off: Literal["omit", "disabled", "between_tools"] | None = None
    prefill: bool = True
    """A trailing assistant message is continued."""
    forced_tool: bool = True
    mid_system: bool = True
    """It takes system messages in mid-conversation."""
    preserved_thinking: bool = False
    """It checks replayed thinking against the conversation before it."""

    # ---- servers that speak Chat Completions
    token_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    stop_max: int | None = None
    max_id: int | None = None
    """Longest tool call id that it takes."""
    system_role: Literal["system", "developer"] = "system"
    reasoning_field: Literal["none", "reasoning_content", "reasoning", "reasoning_details"] = "none"
    """How an assistant message of the history carries thinking back."""
    user_field: Literal["safety_identifier", "user"] = "safety_identifier"
    parallel_tool_calls: bool = True
    strict_tools: bool = True
    json_schema: bool = True
    stream_options: bool = True
    content_parts: bool = True
    """User messages may be arrays of parts; without it they are joined to strings."""
    image: bool = True
    file: bool = True
    audio: bool = True
    custom_tools: bool = True
    """It takes free-form tools (``custom``). Without it they are sent as functions with one text."""
    hosted_search: bool = False
    """Its Responses API searches the web by itself."""
    top_k: bool = False
    think_tags: bool | Literal["opened"] = False
    """Its server leaves reasoning in the text, between ``<think>`` tags; ``opened``: its template writes the opening
    one, so that only the closing one comes."""
    effort_with_tools: bool = True
    call_signatures: bool = False
    """It gives and takes Google's thought signatures with tool calls (``extra_content``)."""
    call_signatures_needed: bool = False
    """And refuses a turn whose first call has none."""
    # ---- Google's models
    thinking_budgets: tuple[int, int] | None = None
    """The least and the most tokens of thinking that a model with a budget takes."""
    json_schema_members: bool = True
    """It reads JSON Schema; without it, Google's subset of OpenAPI's."""
    json_with_tools: bool = True
    """It can be held to a form where it has tools."""
    result_media: bool = True
    """A tool's result may hold images and documents."""
    media_resolution: bool = True
    """Each image may say its own."""

    alternate_roles: bool = False
    """Its chat template demands that user and assistant alternate."""


class CapabilityError(Exception):
    """The operator's capability file or quirks are wrong; the message says what and where."""


class CapabilityTable:
    """Rows by model prefix, members by provider. Immutable after loading; lookups are cached, within a bound, because
    the model's name comes from outside."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._default: dict[str, Any] = dict(data.get("default") or {})
        self._models: dict[str, dict[str, Any]] = dict(data.get("models") or {})
        self._providers: dict[str, dict[str, Any]] = dict(data.get("providers") or {})
        self._lookup = lru_cache(maxsize=1024)(self._find)

    def find(self, provider: str, model: str, quirks: Mapping[str, Any] | None = None) -> Capabilities:
        """The row for *model* at *provider*, with *quirks* put over it. Raises CapabilityError for a wrong quirk."""
        if not quirks:
            return self._lookup(provider, model)
        return _convert({**self._members(provider, model), **quirks}, "quirks")

    def _find(self, provider: str, model: str) -> Capabilities:
        return _convert(self._members(provider, model), f"the row of {model!r}")

    def _members(self, provider: str, model: str) -> dict[str, Any]:
        name = normalize(model)
        prefix = max((p for p in self._models if name.startswith(p)), key=len, default=None)
        row = self._models[prefix] if prefix else {}
        return {**self._default, **self._providers.get(provider, {}), **row}


def normalize(model: str) -> str:
    """The model's own name, without who hosts it, when it was made, and in what spelling."""
    name = _VENDOR.sub("", model)
    name = _DATE.sub("", _DATE.sub("", name))
    return _DOT.sub("-", name)


def _convert(members: dict[str, Any], where: str) -> Capabilities:
    try:
        return msgspec.convert(members, Capabilities)
    except msgspec.ValidationError as error:
        raise CapabilityError(f"{where}: {error}; known members: {', '.join(Capabilities.__struct_fields__)}") from None


def load(path: str | Path | None = None) -> CapabilityTable:
    """The packaged table, with the operator's file at *path* over it, row by row. Raises CapabilityError."""
    data = _read(resources.files("extproc").joinpath("capabilities.yaml").read_text("utf-8"), "capabilities.yaml")
    if path is not None:
        try:
            own = _read(Path(path).read_text("utf-8"), str(path))
        except OSError as error:
            raise CapabilityError(f"{path}: {error.strerror}") from None
        for section in ("models", "providers"):
            data[section] = {**data.get(section, {}), **own.get(section, {})}
        data["default"] = {**data.get("default", {}), **own.get("default", {})}
    for section in ("models", "providers"):
        for name, row in data.get(section, {}).items():
            _convert(row, f"{section}.{name}")
    return CapabilityTable(data)


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        data = yaml.load(text, Loader=_Yaml12)
    except yaml.YAMLError as error:
        raise CapabilityError(f"{where}: not YAML: {error}") from None
    if not isinstance(data, dict):
        raise CapabilityError(f"{where}: expected a mapping with default, models, providers")
    unknown = set(data) - {"default", "models", "providers"}
    if unknown:
        raise CapabilityError(f"{where}: unknown section {sorted(unknown)[0]!r}; expected default, models, providers")
    for section, rows in data.items():
        if not isinstance(rows, dict):
            raise CapabilityError(f"{where}: {section}: expected a mapping")
    return data


class _Yaml12(yaml.SafeLoader):
    """YAML 1.2's booleans: ``on`` and ``off`` are words here."""


_Yaml12.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false|True|False)$"), list("tTfF"))


@lru_cache(maxsize=1)
def packaged() -> CapabilityTable:
    """The table as shipped."""
    return load()
