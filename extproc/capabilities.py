"""What a model can do, from data: the packaged ``capabilities.yaml``, the operator's file over it, a route's quirks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

MAX_NAME = 512
"""Characters of a model's name that are looked at: names come from outside, and those that were looked up are kept."""
_REGION = re.compile(r"(?:us|eu|apac|global|jp|au|ca|us-gov)\.(?=[a-z0-9-]+\.)")
_MAKER = re.compile(
    r"(?:anthropic|openai|google|meta|mistral|qwen|minimax|moonshot|moonshotai|zai|cohere|ai21|amazon|nvidia|writer)"
    r"\.(?=[a-z])"
)
"""Bedrock's prefixes."""
_HOST = re.compile(r"^(?:databricks|copilot|openai|anthropic|google|meta|amazon|mistralai)--?(?=[a-z])")
"""Of Databricks, Snowflake, DigitalOcean and SAP: ``databricks-claude-opus-4-6``, ``anthropic--claude-4-opus``."""
_AZURES = re.compile(r"^gpt-?35(?=-)")
_RUN_ON = re.compile(r"^gpt(?=\d)")
"""``gpt-35-turbo``, as Azure calls it, and ``gpt5.2``."""
_DATE = re.compile(r"(?:@.*|-v\d+(?::\d+)?|-latest|-20\d{6}|:[a-z][a-z0-9-]*)$")
_DOT = re.compile(r"(?<=\d)\.(?=\d)")
_FAMILIES = r"(opus|sonnet|haiku|fable|mythos)"
_NUMBER_FIRST = re.compile(rf"claude-([4-9](?:-\d{{1,2}})?)-{_FAMILIES}(?![a-z])")
"""``claude-4-opus`` is called ``claude-opus-4`` by its maker."""
_NUMBER_LAST = re.compile(rf"claude-{_FAMILIES}-(3(?:-\d)?)(?!\d)")
"""``claude-opus-3`` is called ``claude-3-opus``."""
_ABOUT = ("source", "seen", "ends", "like", "at")
"""Members of a row that say nothing of the model's abilities."""


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
    """It takes temperature and top_p in one request."""
    stop: bool = True
    """It takes stop sequences."""
    web_search: bool = False
    """OpenAI's search models, which take ``web_search_options``."""

    # ---- Anthropic's models
    thinking: Literal["none", "budget", "adaptive"] = "none"
    """How it thinks: not at all, within a budget of tokens, or as it sees fit."""
    budget_too: bool = False
    """A model whose thinking is adaptive, and that takes a budget of tokens as well."""
    thinking_default: Literal["off", "on", "always"] = "off"
    """Whether it thinks where nobody says."""
    thinking_off: Literal["omit", "disabled", "between_tools"] | None = None
    """How it is told not to think."""
    prefill: bool = True
    """A trailing assistant message is continued."""
    forced_tool: bool = True
    """It can be told that it must call a tool."""
    mid_system: bool = True
    """It takes system messages in mid-conversation."""
    preserved_thinking: bool = False
    """It checks replayed thinking against the conversation before it."""

    url_sources: bool = True
    """Images and documents may be addresses, or files that were uploaded, beside base64."""
    cache_points: bool = False
    """Bedrock's Converse takes cache points for it; for Claude it does anyway."""
    converse_effort: Literal["none", "nova", "openai"] = "none"
    """In whose words Bedrock's Converse tells it how much to think, where it is none of Claude's."""

    # ---- servers that speak Chat Completions
    token_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    """Which member limits an answer."""
    stop_max: int | None = None
    """Most stop sequences that it takes."""
    max_id: int | None = None
    """Longest tool call id that it takes."""
    cache_control: bool | Literal["texts"] = False
    """It takes Anthropic's cache marks on texts and tools, and hands them on (OpenRouter, LiteLLM); ``texts``: on texts
    alone (DashScope)."""
    cache_breakpoints: bool = False
    """It takes OpenAI's ``prompt_cache_breakpoint`` on texts."""
    system_role: Literal["system", "developer"] = "system"
    """Which role instructions have."""
    reasoning_field: Literal["none", "reasoning_content", "reasoning", "reasoning_details"] = "none"
    """How an assistant message of the history carries thinking back."""
    user_field: Literal["safety_identifier", "user"] = "safety_identifier"
    """Which member says for whom a request is made."""
    parallel_tool_calls: bool = True
    """It takes ``parallel_tool_calls``."""
    strict_tools: bool = True
    """It takes ``strict`` in tools."""
    schema_choices: bool = True
    """A tool's schema may be a choice at its root."""
    json_schema: bool = True
    """It takes a ``response_format`` of the type ``json_schema``."""
    stream_options: bool = True
    """It takes ``stream_options``."""
    content_parts: bool = True
    """User messages may be arrays of parts; without it they are joined to strings."""
    image: bool = True
    """It takes images."""
    file: bool = True
    """It takes files."""
    audio: bool = True
    """It takes audio."""
    custom_tools: bool = True
    """It takes free-form tools (``custom``). Without it they are sent as functions with one text."""
    hosted_search: bool = False
    """Its Responses API searches the web by itself."""
    top_k: bool = False
    """It takes ``top_k``."""
    think_tags: bool | Literal["opened"] = False
    """Its server leaves reasoning in the text, between ``<think>`` tags; ``opened``: its template writes the opening
    one, so that only the closing one comes."""
    effort_with_tools: bool = True
    """It takes an effort beside tools."""
    none_with_tools: bool = False
    """Beside tools it must be told ``none``, also where nobody asked for an effort."""
    call_signatures: bool = False
    """It gives and takes Google's thought signatures with tool calls (``extra_content``)."""
    call_signatures_needed: bool = False
    """It refuses a turn whose first call has no thought signature."""
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
    """Each image may say at which resolution it is looked at."""

    # ---- models of embeddings
    max_inputs: int | None = None
    """Most inputs of one request; ``None``: as many as its API takes."""
    dimensions: bool = True
    """The size of its vectors can be chosen."""

    # ---- chat templates
    alternate_roles: bool = False
    """Its chat template demands that user and assistant alternate."""
    user_after_tool: bool = True
    """Its chat template lets the user speak behind a tool's result."""


class CapabilityError(Exception):
    """The operator's capability file or quirks are wrong; the message says what and where."""


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says about a row, beside what the model can do. ``at``: provider -> members that hold there alone."""

    source: str = ""
    seen: date | None = None
    ends: date | None = None
    """The day on which its maker shuts the model down."""
    like: str = ""
    at: dict[str, dict[str, Any]] = {}


class CapabilityTable:
    """Rows by model prefix, members by provider. Immutable after loading; lookups are cached, within a bound, because
    the model's name comes from outside. Raises CapabilityError for rows that cannot be."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._default: dict[str, Any] = dict(data.get("default") or {})
        self._providers: dict[str, dict[str, Any]] = dict(data.get("providers") or {})
        self._raw: dict[str, dict[str, Any]] = dict(data.get("models") or {})
        self.sources: dict[str, dict[str, Any]] = dict(data.get("sources") or {})
        self.rows: dict[str, Row] = {name: _about(row, f"models.{name}") for name, row in self._raw.items()}
        self._prefixes = {_spelled(name): name for name in self._raw}
        self._models = {name: self._with_likes(name, ()) for name in self._raw}
        self._lookup = lru_cache(maxsize=1024)(self._find)

    def find(self, provider: str, model: str, quirks: Mapping[str, Any] | None = None) -> Capabilities:
        """The row for *model* at *provider*, with *quirks* put over it. Raises CapabilityError for a wrong quirk."""
        if not quirks:
            return self._lookup(provider, model[:MAX_NAME])
        return _convert({**self._members(provider, model), **quirks}, "quirks")

    def prefix(self, model: str) -> str | None:
        """The name of the row that *model* has; ``None`` if it has none."""
        name = normalize(model)
        # A number is a whole one: 4-1 does not begin 4-1106.
        fits = [
            prefix
            for prefix in self._prefixes
            if name.startswith(prefix) and not (prefix[-1:].isdigit() and name[len(prefix) :][:1].isdigit())
        ]
        return self._prefixes[max(fits, key=len)] if fits else None

    def ends(self, model: str) -> date | None:
        """The day on which the maker of *model* shuts it down, as far as it is known."""
        prefix = self.prefix(model)
        return self.rows[prefix].ends if prefix is not None else None

    def seen(self, prefix: str) -> date | None:
        """When the source of row *prefix* was read."""
        row = self.rows[prefix]
        seen: date | None = row.seen or self.sources.get(row.source, {}).get("seen")
        return seen

    def _find(self, provider: str, model: str) -> Capabilities:
        return _convert(self._members(provider, model), f"the row of {model!r}")

    def _members(self, provider: str, model: str) -> dict[str, Any]:
        prefix = self.prefix(model)
        row = self._models[prefix] if prefix is not None else {}
        here = self.rows[prefix].at.get(provider, {}) if prefix is not None else {}
        return {**self._default, **self._providers.get(provider, {}), **row, **here}

    def members(self, prefix: str) -> dict[str, Any]:
        """What row *prefix* says, its likes included."""
        return dict(self._models[prefix])

    def _with_likes(self, name: str, below: tuple[str, ...]) -> dict[str, Any]:
        like = self.rows[name].like
        if like and (like not in self._raw or like in (*below, name)):
            raise CapabilityError(f"models.{name}: like {like!r} is no other row")
        own = {member: value for member, value in self._raw[name].items() if member not in _ABOUT}
        return {**self._with_likes(like, (*below, name)), **own} if like else own


def normalize(model: str) -> str:
    """The model's own name, without who hosts it, when it was made, and in what spelling."""
    name = model.lower().rpartition("/")[2]
    if name.startswith("ft:"):
        # OpenAI's, tuned: ft:gpt-4o-2024-08-06:org::id.
        name = name.split(":")[1]
    name = _MAKER.sub("", _REGION.sub("", name, count=1), count=1)
    name = _RUN_ON.sub("gpt-", _AZURES.sub("gpt-3-5", _HOST.sub("", name)))
    for _ in range(4):
        shorter = _DATE.sub("", name)
        if shorter == name or not shorter:
            break
        name = shorter
    name = _spelled(name)
    name = _NUMBER_FIRST.sub(r"claude-\2-\1", name)
    return _NUMBER_LAST.sub(r"claude-\2-\1", name)


def _spelled(name: str) -> str:
    return _DOT.sub("-", name.lower()).replace("_", "-").replace(" ", "-")


def told(row: Capabilities) -> str:
    """Where *row* differs from that of an unknown model, for a reader."""
    free = Capabilities()
    names = [name for name in row.__struct_fields__ if getattr(row, name) != getattr(free, name)]
    return " ".join(f"{name}={_word(getattr(row, name))}" for name in names)


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _about(row: Mapping[str, Any], where: str) -> Row:
    try:
        return msgspec.convert({name: row[name] for name in _ABOUT if name in row}, Row)
    except msgspec.ValidationError as error:
        raise CapabilityError(f"{where}: {error}") from None


def _convert(members: dict[str, Any], where: str) -> Capabilities:
    try:
        return msgspec.convert(members, Capabilities)
    except msgspec.ValidationError as error:
        raise CapabilityError(f"{where}: {error}; known members: {', '.join(Capabilities.__struct_fields__)}") from None


def load(path: str | Path | None = None) -> CapabilityTable:
    """The packaged table, with the operator's file at *path* over it, row by row. Raises CapabilityError."""
    data = _read(resources.files("extproc").joinpath("capabilities.yaml"), "capabilities.yaml")
    if path is not None:
        own = _read(Path(path), str(path))
        for section in ("sources", "models", "providers"):
            data[section] = {**data.get(section, {}), **own.get(section, {})}
        data["default"] = {**data.get("default", {}), **own.get("default", {})}
    for section in ("models", "providers"):
        for name, row in data.get(section, {}).items():
            if not isinstance(row, dict):
                raise CapabilityError(f"{section}.{name}: expected a mapping")
            _convert({k: v for k, v in row.items() if section != "models" or k not in _ABOUT}, f"{section}.{name}")
            at = (row.get("at") or {}) if section == "models" else {}
            if not isinstance(at, dict):
                raise CapabilityError(f"{section}.{name}.at: expected a mapping of providers")
            for provider, members in at.items():
                _convert(members, f"models.{name}.at.{provider}")
    return CapabilityTable(data)


def _read(file: Path | Traversable, where: str) -> dict[str, Any]:
    data = yaml_of(file, where, CapabilityError)
    if not isinstance(data, dict):
        raise CapabilityError(f"{where}: expected a mapping with default, models, providers")
    unknown = set(data) - {"sources", "default", "models", "providers"}
    if unknown:
        named = sorted(map(str, unknown))[0]
        raise CapabilityError(f"{where}: unknown section {named!r}; expected default, models, providers, sources")
    for section, rows in data.items():
        if not isinstance(rows, dict):
            raise CapabilityError(f"{where}: {section}: expected a mapping")
    return data


def yaml_of(file: Path | Traversable, where: str, wrong: type[Exception]) -> Any:
    """What a table's *file* says, which messages call *where*. Raises *wrong* where it cannot be read or is no YAML."""
    try:
        return yaml.load(file.read_text("utf-8"), Loader=_Yaml12)
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"{where}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    except yaml.YAMLError as error:
        raise wrong(f"{where}: not YAML: {error}") from None


# Every process reads them at its start: with libyaml, which may be missing, it takes a sixth of the time.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml12(_Loader):  # type: ignore[misc]
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
