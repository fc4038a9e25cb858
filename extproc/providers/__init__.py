"""Who hosts a wire API: which dialects at which paths, and what the provider calls its limit. Data, one row each.

``docs/providers.md`` shows all of them, and how to add one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..frozen import Frozen

CONVERSATIONS = (
    "openai_chat", "anthropic_messages", "openai_responses", "bedrock_converse", "gemini", "anthropic_bedrock",
    "anthropic_vertex",
)  # fmt: skip
EMBEDDINGS = (
    "openai_embeddings", "gemini_embeddings", "vertex_predict", "titan_embeddings", "nova_embeddings",
    "cohere_embeddings", "cohere_bedrock",
)  # fmt: skip
REST = ("openai_endpoints", "anthropic_endpoints", "gemini_endpoints")
DIALECTS = CONVERSATIONS + EMBEDDINGS + REST
"""The names of wire APIs that a route may say. Between those of one kind there are translations; what is of the last
kind passes, or is not served."""
STATELESS = (
    "images", "audio", "moderations", "completions", "rerank", "score", "classify", "pooling", "tokenize", "compact",
    "realtime",
)  # fmt: skip
STATEFUL = (
    "files", "uploads", "batches", "fine_tuning", "videos", "vector_stores", "containers", "evals", "conversations",
    "responses", "chat", "skills", "caches", "operations",
)  # fmt: skip
"""Endpoints of the rest of an API. What the latter keep at the provider is open to everybody who has the same
credential: a route has to name them."""


_KINDS = {name: kind for kind in (CONVERSATIONS, EMBEDDINGS, REST) for name in kind}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Endpoint(Frozen):
    """One dialect at a provider."""

    path: str
    """``{name}`` stands for a member of the route's ``provider_conf``, ``{model}`` for the model that is sent."""
    max_tokens: str | None = None
    """The member of the body that limits the answer (D28)."""
    explicit: bool = False
    """Used only when the route's ``upstream`` says so: never chosen because the client speaks it."""
    models: str = ""
    """A pattern: for the models whose names begin so it is chosen before the others, and for no model else."""
    verbs: tuple[str, str] | None = None
    """What follows the path for a whole answer and for a streamed one, where it is not what the API itself has."""
    serves: tuple[str, ...] = ()
    """Of the rest of an API, the endpoints that the provider has; empty: all."""
    paths_with: tuple[tuple[str, str], ...] = ()
    """A member of ``provider_conf``, and the path where the route gives it. The first that is given counts."""

    def path_for(self, conf: Mapping[str, str]) -> str:
        """The path, its parts yet to be filled in, for the ``provider_conf`` *conf*."""
        for name, path in self.paths_with:
            if conf.get(name):
                return path
        return self.path


class Provider(Frozen):
    """Who hosts. ``dialects`` stand in order of preference."""

    name: str
    dialects: dict[str, Endpoint]
    auth: str
    """How a credential is usually given, as the route's ``auth``."""
    host: str | None = None
    """Where its public API lives, for documentation and examples: connections are Envoy's."""
    regional_host: str | None = None
    """The same where it depends on ``provider_conf``."""
    auth_required: bool = True
    """A route must say ``auth``, if only ``auth: none`` (D5)."""
    counts: str = ""
    """The dialect in which it tells how many tokens a request has, also of those that another one is to answer."""

    def host_for(self, conf: Mapping[str, str]) -> str | None:
        """Where it lives, for the ``provider_conf`` *conf*; ``None`` if that cannot be told."""
        regional = self.regional_host or "{}"
        known = conf.get("region") != "global" and all(conf.get(name) for name in _braced(regional))
        return regional.format_map(conf) if known else self.host

    def host_in(self, region: str) -> str:
        """Where it lives in *region*, which is signed; empty if the region does not tell."""
        host = (self.regional_host or self.host or "").replace("{region}", region)
        return "" if "{" in host else host

    @property
    def variables(self) -> list[str]:
        """The environment variables that ``auth`` names."""
        found: list[str] = _VARIABLE.findall(self.auth)
        return found

    @property
    def by_model(self) -> bool:
        """Which API a request goes to depends on its model."""
        return any(endpoint.models for endpoint in self.dialects.values())

    def chosen(self, client: str, model: str) -> str | None:
        """The dialect for a client of dialect *client* that asks for *model*: the client's own, else the first of its
        kind that there is for the model; ``None`` if there is none."""
        own = self.dialects.get(client)
        if own is not None and not own.explicit and not own.models:
            return client
        kind, other = kind_of(client), None
        for name, there in self.dialects.items():
            if kind_of(name) is not kind:
                continue
            if there.models and re.match(there.models, model):
                return name
            if other is None and not there.models and not there.explicit:
                other = name
        return other

    def conf_needed(self, dialect: str, conf: Mapping[str, str]) -> list[str]:
        """The members of ``provider_conf`` that the path of *dialect* is made of, where *conf* is given."""
        path = self.dialects[dialect].path_for(conf)
        return [name for name in _braced(path) if name != "model"] if "{" in path else []

    @property
    def conf_known(self) -> frozenset[str]:
        """All members of ``provider_conf`` that mean something to it."""
        names = set(_braced(f"{self.host}{self.regional_host}"))
        for endpoint in self.dialects.values():
            names.update(_braced(endpoint.path), *([name, *_braced(path)] for name, path in endpoint.paths_with))
        return frozenset(names - {"model"})


def kind_of(dialect: str) -> tuple[str, ...]:
    """The dialects between which and *dialect* there are translations."""
    return _KINDS.get(dialect, CONVERSATIONS)


_BEARER = "{header: {Authorization: 'Bearer ${%s}'}}"
_CHAT = "/v1/chat/completions"
_VERTEX = "/v1/projects/{project_id}/locations/{region}"


def _deployments(operation: str) -> tuple[tuple[str, str], ...]:
    query = "?api-version={api_version}"
    return (
        ("deployment", f"/openai/deployments/{{deployment}}/{operation}{query}"),
        ("api_version", f"/openai/deployments/{{model}}/{operation}{query}"),
    )


_ROWS = (
    Provider(
        "openai",
        {
            "openai_chat": Endpoint(_CHAT, "max_completion_tokens"),
            "openai_responses": Endpoint("/v1/responses", "max_output_tokens"),
            "openai_embeddings": Endpoint("/v1/embeddings"),
            "openai_endpoints": Endpoint("/v1"),
        },
        _BEARER % "OPENAI_API_KEY",
        "api.openai.com",
        counts="openai_responses",
    ),
    Provider(
        # The v1 API, which takes the deployment's name as the model; with an api-version the older one, whose path
        # names the deployment.
        "azure-openai",
        {
            "openai_chat": Endpoint(
                "/openai/v1/chat/completions", "max_tokens", paths_with=_deployments("chat/completions")
            ),
            # In either, the model is the deployment's name.
            "openai_responses": Endpoint(
                "/openai/v1/responses",
                "max_output_tokens",
                paths_with=(("api_version", "/openai/responses?api-version={api_version}"),),
            ),
            "openai_embeddings": Endpoint("/openai/v1/embeddings", paths_with=_deployments("embeddings")),
            "openai_endpoints": Endpoint(
                "/openai/v1",
                paths_with=(
                    ("deployment", "/openai/deployments/{deployment}?api-version={api_version}"),
                    ("api_version", "/openai/deployments/{model}?api-version={api_version}"),
                ),
            ),
        },
        "{header: {api-key: '${AZURE_OPENAI_API_KEY}'}}",
        regional_host="{resource}.openai.azure.com",
        counts="openai_responses",
    ),
    Provider(
        "deepseek",
        {"openai_chat": Endpoint("/chat/completions", "max_tokens")},
        _BEARER % "DEEPSEEK_API_KEY",
        "api.deepseek.com",
    ),
    Provider(
        "aimlapi",
        {
            "openai_chat": Endpoint(_CHAT, "max_tokens"),
            "openai_responses": Endpoint("/v1/responses", "max_output_tokens", explicit=True),
            "openai_embeddings": Endpoint("/v1/embeddings"),
            "openai_endpoints": Endpoint("/v1"),
        },
        _BEARER % "AIMLAPI_API_KEY",
        "api.aimlapi.com",
    ),
    Provider(
        # Its OpenAI-compatible endpoint loses most of what the Messages API can say: never chosen by itself (C10).
        "anthropic",
        {
            "anthropic_messages": Endpoint("/v1/messages", "max_tokens"),
            "openai_chat": Endpoint(_CHAT, "max_tokens", explicit=True),
            "anthropic_endpoints": Endpoint("/v1"),
        },
        "{header: {x-api-key: '${ANTHROPIC_API_KEY}'}}",
        "api.anthropic.com",
    ),
    Provider(
        # Claude in Azure AI Foundry: the Messages API and nothing else (C1).
        "azure-anthropic",
        {"anthropic_messages": Endpoint("/anthropic/v1/messages", "max_tokens")},
        "{header: {x-api-key: '${AZURE_ANTHROPIC_API_KEY}'}}",
        regional_host="{resource}.services.ai.azure.com",
    ),
    Provider(
        "openrouter",
        {
            "openai_chat": Endpoint("/api/v1/chat/completions", "max_tokens"),
            # A beta, and without state: what it can do, a translation to its chat can as well.
            "openai_responses": Endpoint("/api/v1/responses", "max_output_tokens", explicit=True),
            "openai_embeddings": Endpoint("/api/v1/embeddings"),
            "openai_endpoints": Endpoint("/api/v1"),
        },
        _BEARER % "OPENROUTER_API_KEY",
        "openrouter.ai",
    ),
    Provider(
        "gemini",
        {
            "openai_chat": Endpoint("/v1beta/openai/chat/completions", "max_completion_tokens"),
            "gemini": Endpoint("/v1beta/models/{model}", "max_output_tokens"),
            "openai_embeddings": Endpoint("/v1beta/openai/embeddings"),
            "openai_endpoints": Endpoint("/v1beta/openai", serves=("images", "audio", "batches", "files", "videos")),
            "gemini_endpoints": Endpoint("/v1beta"),
            # The same models in Google's own words, which tell what a vector is for.
            "gemini_embeddings": Endpoint("/v1beta/models/{model}"),
        },
        _BEARER % "GEMINI_API_KEY",
        "generativelanguage.googleapis.com",
    ),
    Provider(
        "vertex-ai",
        {
            "openai_chat": Endpoint(f"{_VERTEX}/endpoints/openapi/chat/completions", "max_completion_tokens"),
            "gemini": Endpoint(f"{_VERTEX}/publishers/google/models/{{model}}", "max_output_tokens"),
            "vertex_predict": Endpoint(f"{_VERTEX}/publishers/google/models/{{model}}"),
            # Those after the first are served by `:embedContent` alone.
            "gemini_embeddings": Endpoint(
                f"{_VERTEX}/publishers/google/models/{{model}}", models=r"(google/)?gemini-embedding-(?!001)"
            ),
        },
        "{gcp: {}}",
        "aiplatform.googleapis.com",
        "{region}-aiplatform.googleapis.com",
        counts="gemini",
    ),
    Provider(
        # Converse has every model; the OpenAI-compatible endpoint few, so it is never chosen by itself. Each takes a
        # Bedrock API key or a signature (`aws: {}`).
        "bedrock",
        {
            "bedrock_converse": Endpoint("/model/{model}", "max_tokens"),
            "anthropic_bedrock": Endpoint("/model/{model}", "max_tokens", explicit=True),
            "openai_chat": Endpoint("/openai/v1/chat/completions", "max_completion_tokens", explicit=True),
            # Each maker's models have a body of their own. An ARN says nothing: there the route's `upstream` must.
            "titan_embeddings": Endpoint("/model/{model}", models=r".*amazon\.titan-embed"),
            "nova_embeddings": Endpoint("/model/{model}", models=r".*amazon\.nova.*embed"),
            "cohere_bedrock": Endpoint("/model/{model}", models=r".*cohere\.embed"),
        },
        _BEARER % "AWS_BEARER_TOKEN_BEDROCK",
        regional_host="bedrock-runtime.{region}.amazonaws.com",
    ),
    Provider(
        # Claude on Bedrock by InvokeModel: all that its own API says, which Converse has not.
        "bedrock-anthropic",
        {"anthropic_bedrock": Endpoint("/model/{model}", "max_tokens")},
        _BEARER % "AWS_BEARER_TOKEN_BEDROCK",
        regional_host="bedrock-runtime.{region}.amazonaws.com",
    ),
    Provider(
        "vertex-anthropic",
        {"anthropic_vertex": Endpoint(f"{_VERTEX}/publishers/anthropic/models/{{model}}", "max_tokens")},
        "{gcp: {}}",
        "aiplatform.googleapis.com",
        "{region}-aiplatform.googleapis.com",
    ),
    Provider(
        "cohere",
        {
            "cohere_embeddings": Endpoint("/v2/embed"),
            "openai_chat": Endpoint("/compatibility/v1/chat/completions", "max_tokens"),
            "openai_embeddings": Endpoint("/compatibility/v1/embeddings", explicit=True),
            "openai_endpoints": Endpoint("/v2", serves=("rerank",)),
        },
        _BEARER % "COHERE_API_KEY",
        "api.cohere.com",
    ),
    Provider(
        # vLLM, SGLang, Ollama, llama.cpp, LM Studio. Some serve /v1/messages and /v1/responses too; their chat is the
        # one that all of them have (F3).
        "openai-compatible",
        {
            "openai_chat": Endpoint(_CHAT, "max_tokens"),
            "openai_responses": Endpoint("/v1/responses", "max_output_tokens", explicit=True),
            "openai_embeddings": Endpoint("/v1/embeddings"),
            "openai_endpoints": Endpoint("/v1"),
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


def _braced(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


CONF_NAMES = frozenset[str]().union(*(row.conf_known for row in _ROWS))
"""All that a route's ``provider_conf`` may say to any provider."""
