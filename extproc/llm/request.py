"""A request to a model, in words that no dialect owns.

Parsers fill it from the client's wire format; emitters write the upstream's from it. Whatever is here, an emitter must
carry, report as a loss, or refuse. ``at`` is always a path in the client's own request, so that losses and refusals
speak the client's language.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec.structs import replace

from ..frozen import Frozen
from .events import Extra


class CacheMarker(Frozen):
    """The prefix up to here is worth caching. ``ttl`` as Anthropic says it (``5m``, ``1h``); ``None``: the default."""

    ttl: str | None = None


class Text(Frozen):
    text: str
    at: str = ""
    cache: CacheMarker | None = None
    citations: list[Any] | None = None
    """Anthropic's citations of an assistant's text, verbatim."""
    refusal: bool = False
    extra: Extra | None = None


_FORMS: Final = frozenset({
    "json", "xml", "javascript", "typescript", "ecmascript", "yaml", "toml", "sql", "sh", "shellscript", "csh", "perl",
    "python", "ruby", "php", "httpd-php", "tex", "latex", "graphql", "ndjson", "jsonlines", "rtf", "subrip",
})  # fmt: skip
"""Media types below ``application/`` that are forms of text."""


class Source(Frozen):
    """Where media come from. ``kind``: ``base64`` (``data`` is base64 text, ``media_type`` is set), ``url``, ``file``
    (``data`` is a file id of one vendor: ``dialect``), ``text`` (``data`` is the text itself)."""

    kind: Literal["base64", "url", "file", "text"]
    data: str
    media_type: str | None = None
    dialect: str = ""

    @property
    def declared(self) -> str:
        """Its media type alone, in small letters; empty if none is named."""
        return (self.media_type or "").partition(";")[0].strip().lower()

    @property
    def names_text(self) -> bool:
        """Whether its media type is that of a text, or of a form of text."""
        named = self.declared
        if named.startswith("text/") or named.endswith(("+json", "+xml")):
            return True
        return named.removeprefix("application/x-") in _FORMS or named.removeprefix("application/") in _FORMS


class Image(Frozen):
    source: Source
    at: str = ""
    detail: str | None = None
    """OpenAI's ``low``, ``high`` ...; ``None`` for ``auto``."""
    cache: CacheMarker | None = None
    extra: Extra | None = None


class Document(Frozen):
    """A file to read. ``blocks`` instead of ``source`` for a document that is itself made of blocks."""

    source: Source | None = None
    blocks: str | list[Block] | None = None
    at: str = ""
    title: str | None = None
    context: str | None = None
    citations: bool = False
    """The client wants citations of it."""
    cache: CacheMarker | None = None
    extra: Extra | None = None


class Audio(Frozen):
    data: str
    format: str
    at: str = ""
    extra: Extra | None = None


class SearchResult(Frozen):
    source: str
    title: str
    content: list[Text]
    at: str = ""
    citations: bool = False
    cache: CacheMarker | None = None
    extra: Extra | None = None


class Thinking(Frozen):
    """Reasoning of an earlier turn. ``signature`` proves ``text``, ``encrypted`` replaces it; both belong to ``signer``
    (see events.ThinkingSealed) and mean nothing to others. ``index`` is its position in the turn's original blocks."""

    text: str
    signature: str | None = None
    encrypted: str | None = None
    signer: str = ""
    index: int | None = None
    at: str = ""
    extra: Extra | None = None


class ToolCall(Frozen):
    """``arguments`` is the input as JSON text, exactly as the client sent it when it was text (it may be invalid);
    ``input`` is the parsed object when the client sent an object. One of the two is set. For ``kind == "custom"``,
    ``arguments`` is the free text. ``signature`` is what its provider gave with the call (see ToolCallStarted)."""

    id: str
    name: str
    arguments: str | None = None
    input: dict[str, Any] | None = None
    kind: Literal["function", "custom"] = "function"
    at: str = ""
    cache: CacheMarker | None = None
    extra: Extra | None = None
    signature: str | None = None


class ToolResult(Frozen):
    """``id`` is that of the call. ``is_error`` is ``None`` when the client's API has no such flag or left it out."""

    id: str
    content: str | list[Block] = ""
    is_error: bool | None = None
    at: str = ""
    cache: CacheMarker | None = None
    extra: Extra | None = None


class ToolReference(Frozen):
    """What a client's own search for tools found: a tool of the request, by the client's name."""

    name: str
    at: str = ""
    cache: CacheMarker | None = None
    extra: Extra | None = None


class ToolChange(Frozen):
    """In a system message: from here on the model may call a tool (``added``), or may not any more. ``tool`` is the one
    that is defined here; without it one of the request's is meant. ``native`` is the block as ``dialect`` writes it."""

    added: bool
    dialect: str
    native: Extra
    tool: Tool | None = None
    at: str = ""


class Opaque(Frozen):
    """A block that only ``dialect`` knows, verbatim. ``essential``: it holds what the user said, so that an emitter of
    another dialect must refuse rather than report."""

    dialect: str
    content: Extra
    at: str = ""
    essential: bool = False


Block = (
    Text
    | Image
    | Document
    | Audio
    | SearchResult
    | Thinking
    | ToolCall
    | ToolResult
    | ToolReference
    | ToolChange
    | Opaque
)


class Message(Frozen):
    """One turn, or part of one. Tool results stand in a ``tool`` message (Chat) or among a ``user`` message's blocks
    (Messages): emitters take both. A content that was a string stays a string."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Block]
    at: str = ""
    name: str | None = None
    extra: Extra | None = None
    clear_at: str | None = None
    """``next_user_message``: a system message that no longer counts once the user has spoken again."""


class WebSearch(Frozen):
    """Options of the provider's own web search. ``user_location`` is flat: city, country, region, timezone."""

    context_size: str | None = None
    max_uses: int | None = None
    user_location: dict[str, Any] | None = None


class Tool(Frozen):
    """``function``: ``schema`` is its JSON Schema. ``custom``: free text in, ``grammar`` is OpenAI's ``format`` of it.
    ``web_search``: the provider's own, by ``search``. ``provider``: another of ``dialect``'s own, ``native`` verbatim;
    ``web_search`` may carry ``native`` as well."""

    name: str
    kind: Literal["function", "custom", "web_search", "provider"] = "function"
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    grammar: dict[str, Any] | None = None
    search: WebSearch | None = None
    native: dict[str, Any] | None = None
    dialect: str = ""
    at: str = ""
    cache: CacheMarker | None = None
    extra: Extra | None = None


class ToolChoice(Frozen):
    """``tool``: exactly the one in ``names``. ``auto`` and ``required`` with ``names``: only those may be called.
    ``parallel`` is ``False`` when at most one call may be made, ``None`` when the client did not say."""

    mode: Literal["auto", "none", "required", "tool"] | None = None
    names: list[str] = []
    parallel: bool | None = None


class Output(Frozen):
    """The form that the answer must have."""

    kind: Literal["json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Reasoning(Frozen):
    """How much to think. ``mode`` is Anthropic's switch, ``effort`` a word (none, minimal, low, medium, high, xhigh,
    max), ``budget`` tokens; each ``None`` when not said. ``exclude``: think, but do not show it."""

    mode: Literal["off", "adaptive", "between_tools", "budget"] | None = None
    effort: str | None = None
    budget: int | None = None
    display: str | None = None
    exclude: bool = False
    extra: Extra | None = None


class Sampling(Frozen):
    """How the next token is chosen, and when to stop; ``None`` where the client said nothing. ``stop``: texts at which
    the answer ends. Ranges are those that the client's API has. A whole number stays one: where only float is said, the
    compiler makes 1.0 of it."""

    max_tokens: int | None = None
    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | None = None
    stop: list[str] = []
    seed: int | None = None
    frequency_penalty: int | float | None = None
    presence_penalty: int | float | None = None


class Member(Frozen):
    """A member of the request that has no word here. ``essential`` ones change the answer's shape or meaning: an
    emitter that does not know them refuses with ``problem`` and ``code``; the others it reports as dropped.
    ``cost_only`` ones cost nothing but money."""

    value: Any
    path: str
    essential: bool = False
    problem: str = ""
    code: str = "unsupported_parameter"
    cost_only: bool = False
    stored: bool = False
    """It stands for something that only the client's own provider keeps: another one is not even asked."""
    holds: Literal["", "words", "tools"] = ""
    """What is said to the model in it, or what the model is offered."""


class Origin(Frozen):
    """The call that a request was read from, for its own dialect: printed with none of it."""

    call: Any

    def __repr__(self) -> str:
        return "Origin(...)"


KEPT_BYTES: Final = 300
"""What a call or a tool takes that is remembered."""


class ClientState(Frozen):
    """What the dialect that parsed a request wants to know of it when it writes the answer."""

    @property
    def kept(self) -> int:
        """Bytes that it takes, about, where they are many."""
        return 0


class Request(Frozen):
    """``at`` maps our words to the client's paths where they differ: see ``path_of``."""

    dialect: str
    """The dialect that parsed it: the client's."""
    model: str
    messages: list[Message]
    system: list[Message] = []
    """The leading system and developer messages, in order (all of them have role ``system``)."""
    tools: list[Tool] = []
    tool_choice: ToolChoice = ToolChoice()
    output: Output | None = None
    reasoning: Reasoning = Reasoning()
    sampling: Sampling = Sampling()
    stream: bool = False
    include_usage: bool = True
    """A streaming client wants the token counts."""
    service_tier: str | None = None
    """``auto``, ``standard``, ``flex``, ``priority``, ``fast``."""
    session_key: str | None = None
    """What groups requests of one conversation for the provider's cache."""
    user_id: str | None = None
    betas: list[str] = []
    """Names of beta features that the client asked for in its dialect's header."""
    api_version: str | None = None
    cache: CacheMarker | None = None
    """The client asks for caching of the whole, where the provider sees fit."""
    at: dict[str, str] = {}
    extra: dict[str, Member] = {}
    client_state: Any = None
    """A ``ClientState``, private to the dialect that parsed the request; its response emitter finds here what the
    request settled."""
    source: Origin | None = None
    """What the request was read from. With it, the same dialect's emitter gives back all that the client sent, but for
    what was changed since (see ``dialects/shared/relay.py``); without it, what the vocabulary can say."""

    @property
    def kept(self) -> int:
        """Bytes, about, that ``remembered`` leaves of it."""
        calls = sum([len(message.content) for message in self.messages])
        return KEPT_BYTES * (calls + len(self.tools)) + (self.client_state.kept if self.client_state is not None else 0)

    def path_of(self, word: str) -> str:
        """The client's path of one of our words (``max_tokens``, ``stop``, ``reasoning``, ``output`` ...)."""
        return self.at.get(word, word)


def remembered(request: Request) -> Request:
    """*request* as far as its answer is written by it: without texts, schemas and inputs. The ids of calls stay,
    because no other call may have one of them."""
    turns: list[Message] = []
    for message in request.messages:
        if type(message.content) is list:
            calls: list[Block] = [ToolCall(b.id, b.name, "") for b in message.content if type(b) is ToolCall]
            if calls:
                turns.append(Message(message.role, calls))
    tools = [Tool(tool.name, tool.kind, dialect=tool.dialect) for tool in request.tools]
    output = request.output and Output(request.output.kind)
    return replace(request, messages=turns, system=[], tools=tools, output=output, extra={}, source=None)
