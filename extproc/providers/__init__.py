"""Who hosts a wire API: which dialects at which paths, and what the provider calls its limit. Data, one row each.

To add a provider: put a row into ``_ROWS`` with its name, its default host, how its credential is usually written (for
documentation and messages), and its dialects in order of preference; name what its server understands in the section
``providers`` of ``capabilities.yaml``, if it is not like OpenAI's; add its line to the table in
``tests/providers/test_providers.py``. No other file changes.
"""

from __future__ import annotations

from msgspec import Struct

DIALECTS = ("openai_chat", "anthropic_messages", "openai_responses", "openai_embeddings", "bedrock_converse")
"""The names of wire APIs that a route may say."""


class Endpoint(Struct, frozen=True):
    """One dialect at a provider."""

    path: str
    """``{name}`` stands for a member of the route's ``provider_conf``."""
    max_tokens: str | None = None
    """The member of the body that limits the answer (D28)."""
    explicit: bool = False
    """Used only when the route's ``upstream`` says so: never chosen because the client speaks it."""


class Provider(Struct, frozen=True):
    """Who hosts. ``dialects`` stand in order of preference."""

    name: str
    dialects: dict[str, Endpoint]
    auth: str
    """How a credential is usually given, as the route's ``auth.header`` line."""
    host: str | None = None
    """Where its public API lives, for documentation and examples: connections are Envoy's."""
    auth_required: bool = True
    """A route must say ``auth``, if only ``auth: none`` (D5)."""

    def conf_needed(self, dialect: str) -> list[str]:
        """The members of ``provider_conf`` that the path of *dialect* is made of."""
        return [part.partition("}")[0] for part in self.dialects[dialect].path.split("{")[1:]]


_BEARER = "Authorization: 'Bearer ${%s}'"
_CHAT = "/v1/chat/completions"
_VERTEX = "/v1/projects/{project_id}/locations/{region}/endpoints/openapi/chat/completions"

_ROWS = (
    Provider(
        "openai",
        {
            "openai_chat": Endpoint(_CHAT, "max_completion_tokens"),
            "openai_responses": Endpoint("/v1/responses", "max_output_tokens"),
            "openai_embeddings": Endpoint("/v1/embeddings"),
        },
        _BEARER % "OPENAI_API_KEY",
        "api.openai.com",
    ),
    Provider(
        # The v1 API, which takes the deployment's name as the model. Paths with a deployment and an api-version are
        # given by override.endpoint.
        "azure-openai",
        {"openai_chat": Endpoint("/openai/v1/chat/completions", "max_tokens")},
        "api-key: ${AZURE_OPENAI_API_KEY}",
    ),
    Provider(
        "deepseek",
        {"openai_chat": Endpoint("/chat/completions", "max_tokens")},
        _BEARER % "DEEPSEEK_API_KEY",
        "api.deepseek.com",
    ),
    Provider(
        "aimlapi",
        {"openai_chat": Endpoint(_CHAT, "max_tokens")},
        _BEARER % "AIMLAPI_API_KEY",
        "api.aimlapi.com",
    ),
    Provider(
        # Its OpenAI-compatible endpoint loses most of what the Messages API can say: never chosen by itself (C10).
        "anthropic",
        {
            "anthropic_messages": Endpoint("/v1/messages", "max_tokens"),
            "openai_chat": Endpoint(_CHAT, "max_tokens", explicit=True),
        },
        "x-api-key: ${ANTHROPIC_API_KEY}",
        "api.anthropic.com",
    ),
    Provider(
        "openrouter",
        {"openai_chat": Endpoint("/api/v1/chat/completions", "max_tokens")},
        _BEARER % "OPENROUTER_API_KEY",
        "openrouter.ai",
    ),
    Provider(
        "gemini",
        {"openai_chat": Endpoint("/v1beta/openai/chat/completions", "max_completion_tokens")},
        _BEARER % "GEMINI_API_KEY",
        "generativelanguage.googleapis.com",
    ),
    Provider(
        "vertex-ai",
        {"openai_chat": Endpoint(_VERTEX, "max_completion_tokens")},
        _BEARER % "VERTEX_ACCESS_TOKEN",
        "aiplatform.googleapis.com",
    ),
    Provider(
        # vLLM, SGLang, Ollama, llama.cpp, LM Studio. Some serve /v1/messages and /v1/responses too; their chat is the
        # one that all of them have (F3).
        "openai-compatible",
        {
            "openai_chat": Endpoint(_CHAT, "max_tokens"),
            "openai_responses": Endpoint("/v1/responses", "max_output_tokens", explicit=True),
            "openai_embeddings": Endpoint("/v1/embeddings"),
            "anthropic_messages": Endpoint("/v1/messages", "max_tokens", explicit=True),
        },
        "none",
        auth_required=False,
    ),
)

PROVIDERS: dict[str, Provider] = {row.name: row for row in _ROWS}
"""By name."""


def native_to(dialect: str) -> str:
    """The provider that made *dialect*, for a translation without a route; ``openai-compatible`` where none did."""
    speakers = (row for row in _ROWS if dialect in row.dialects)
    row = min(speakers, key=lambda row: list(row.dialects).index(dialect), default=PROVIDERS["openai-compatible"])
    return row.name
