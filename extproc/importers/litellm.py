"""LiteLLM's proxy configuration (``config.yaml``), read as the gateway's file that does the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..costs.prices import MOST, PER
from ..gateway.envoy import ImportFailed, free_name
from ..providers import PROVIDERS

SEVERAL = "is asked in turn with the others of the same name; here one after the other, as listed"


@dataclass(frozen=True)
class _Prefix:
    """What stands before a model's name at LiteLLM: the provider that it means here."""

    provider: str
    url: str = ""
    """Where it is served, if the provider's row does not say."""
    key: str = ""
    """The variable that LiteLLM reads where no api_key is given."""


def _served(url: str, key: str) -> _Prefix:
    return _Prefix("openai-compatible", url, key)


PREFIXES = {
    "openai": _Prefix("openai"),
    "chatgpt": _Prefix("openai"),
    "text-completion-openai": _Prefix("openai"),
    "anthropic": _Prefix("anthropic"),
    "gemini": _Prefix("gemini"),
    "deepseek": _Prefix("deepseek"),
    "openrouter": _Prefix("openrouter"),
    "aiml": _Prefix("aimlapi"),
    "azure": _Prefix("azure-openai"),
    "azure_ai": _Prefix("openai-compatible", key="AZURE_AI_API_KEY"),
    "bedrock": _Prefix("bedrock"),
    "vertex_ai": _Prefix("vertex-ai"),
    "vertex_ai_beta": _Prefix("vertex-ai"),
    "ollama": _Prefix("openai-compatible", "http://127.0.0.1:11434"),
    "ollama_chat": _Prefix("openai-compatible", "http://127.0.0.1:11434"),
    "hosted_vllm": _Prefix("openai-compatible", key="HOSTED_VLLM_API_KEY"),
    "vllm": _Prefix("openai-compatible"),
    "lm_studio": _Prefix("openai-compatible", "http://127.0.0.1:1234/v1"),
    "llamafile": _Prefix("openai-compatible", "http://127.0.0.1:8080/v1"),
    "openai_like": _Prefix("openai-compatible"),
    "custom_openai": _Prefix("openai-compatible"),
    "litellm_proxy": _Prefix("openai-compatible", key="LITELLM_PROXY_API_KEY"),
    "groq": _served("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": _served("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "xai": _served("https://api.x.ai/v1", "XAI_API_KEY"),
    "together_ai": _served("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": _served("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "perplexity": _served("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "cerebras": _served("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "nvidia_nim": _served("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "moonshot": _served("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    "deepinfra": _served("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "sambanova": _served("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    "novita": _served("https://api.novita.ai/v3/openai", "NOVITA_API_KEY"),
    "hyperbolic": _served("https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY"),
    "dashscope": _served("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "zai": _served("https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
}
"""By what stands before the first slash of ``litellm_params.model``."""
_BARE = (("claude", "anthropic"), ("gemini", "gemini"), ("deepseek", "deepseek"))
"""What a name without a prefix begins with."""
_OPTIONS = frozenset(
    {"temperature", "top_p", "top_k", "n", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
     "user", "response_format", "parallel_tool_calls", "reasoning_effort", "service_tier", "thinking", "verbosity"}
)  # fmt: skip
"""Members of a request that LiteLLM sets for a model, and so do a route's ``options``."""
_SILENT = frozenset(
    {"model", "api_base", "base_url", "api_key", "api_version", "max_tokens", "custom_llm_provider", "drop_params",
     "merge_reasoning_content_in_choices", "use_in_pass_through", "use_litellm_proxy", "tags"}
)  # fmt: skip
"""What is read elsewhere, or is about LiteLLM itself."""
_COSTS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
}
"""Their prices are for one token, ours for a million."""
_PARAMS = {
    "rpm": "limits are Envoy's: local_ratelimit, or a rate limit service",
    "tpm": "limits are Envoy's: a rate limit service that counts the tokens of metadata.costs (docs/envoy.md)",
    "weight": "of several with one name the first is asked first: load_balancing_weight of Envoy's endpoints",
    "order": "the order of the list is the order of asking",
    "timeout": "the route's per_try_timeout and idle_timeout",
    "stream_timeout": "the route's per_try_idle_timeout",
    "max_retries": "the route's retry_policy.num_retries",
    "num_retries": "the route's retry_policy.num_retries",
    "extra_headers": "request_headers_to_add of Envoy's route",
    "headers": "request_headers_to_add of Envoy's route",
    "organization": "request_headers_to_add: OpenAI-Organization",
    "ssl_verify": "the cluster's validation_context",
    "max_parallel_requests": "the cluster's circuit_breakers.thresholds[].max_requests",
    "mock_response": "direct_response of Envoy's route",
}
_SETTINGS = {
    "master_key": "clients are authenticated by a filter before ours: envoy.filters.http.api_key_auth, jwt_authn",
    "database_url": "there is no database: keys and budgets of users are Envoy's or your gateway's before it",
    "callbacks": "Envoy's access log has tokens, models, losses and times of each exchange (docs/envoy.md)",
    "success_callback": "Envoy's access log has tokens, models, losses and times of each exchange (docs/envoy.md)",
    "failure_callback": "Envoy's access log has the error of each exchange (docs/envoy.md)",
    "cache": "answers are not cached here",
    "cache_params": "answers are not cached here",
    "num_retries": "the route's retry_policy.num_retries",
    "request_timeout": "the route's idle_timeout",
    "timeout": "the route's idle_timeout",
    "allowed_fails": "the cluster's outlier_detection.consecutive_5xx",
    "cooldown_time": "the cluster's outlier_detection.base_ejection_time",
    "routing_strategy": "of several with one name the first is asked first: lb_policy of Envoy's cluster",
    "context_window_fallbacks": "an answer of 400 is not asked again: name the larger model, or list it in fallbacks",
    "content_policy_fallbacks": "an answer of 400 is not asked again",
    "redis_host": "nothing is shared between instances, so there is nothing to keep",
    "guardrails": "policies: prompt_guard, redact, moderation (docs/policies.md)",
}
_QUIET = frozenset({"drop_params", "set_verbose", "fallbacks", "default_fallbacks", "model_group_alias", "json_logs",
                    "telemetry", "modify_params", "enable_pre_call_checks", "suppress_debug_info"})  # fmt: skip
_REFERENCE = re.compile(r"os\.environ/(\w+)\Z")


@dataclass
class _Read:
    note: Callable[[str, str], None]
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    uses: dict[str, list[str]] = field(default_factory=dict)
    """A name for clients -> the places where it is asked for."""
    says: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is said of a name beyond that."""
    secrets: dict[str, str] = field(default_factory=dict)

    # ---- values

    def text(self, path: str, value: Any, variable: str) -> str:
        """*value* as this project refers to it: ``os.environ/X`` is ``${X}``, and a literal becomes *variable*."""
        if match := _REFERENCE.match(str(value)):
            return f"${{{match[1]}}}"
        known = self.secrets.setdefault(str(value), free_name(variable, self.secrets.values()))
        self.note(path, f"the secret written here is replaced by ${{{known}}}: set it in the sidecar's environment")
        return f"${{{known}}}"

    def plain(self, path: str, value: Any) -> str | None:
        """*value* where it must be known now; ``None`` for what stands in the environment."""
        if match := _REFERENCE.match(str(value)):
            self.note(path, f"stands in the environment as {match[1]}, and is needed here: write it out")
            return None
        return str(value)

    # ---- models

    def model(self, entry: Mapping[str, Any], at: str) -> None:
        name, params = entry.get("model_name"), entry.get("litellm_params")
        if not isinstance(name, str) or not isinstance(params, dict) or not isinstance(params.get("model"), str):
            raise ImportFailed(f"{at}: expected a model_name and litellm_params with a model")
        if name.count("*") > 1:
            self.note(f"{at}.model_name", "two `*` in one name have no equivalent here: left out")
            return
        given = str(params["model"])
        prefix, slash, rest = given.partition("/")
        meant = PREFIXES.get(str(params.get("custom_llm_provider") or "") or (prefix if slash else ""))
        if meant is None and slash and prefix not in PREFIXES and not params.get("api_base"):
            self.note(f"{at}.litellm_params.model", f"provider {prefix!r} is not known here; with an OpenAI-compatible "
                      "URL of its own: provider: openai-compatible, url: ...; left out")  # fmt: skip
            return
        if meant is None:
            row = next((provider for start, provider in _BARE if given.startswith(start)), "openai")
            meant, rest = _Prefix("openai-compatible" if slash else row), given
        elif prefix not in PREFIXES:
            rest = given
        provider = self.provider(meant, rest, params, at)
        if provider is None:
            return
        rest = self.plainly(rest)
        place = provider if rest == name and "/" not in rest else f"{provider}/{rest}"
        if name in self.uses:
            self.note(f"{at}.model_name", f"{name!r} {SEVERAL}")
        self.uses.setdefault(name, []).append(place)
        self.about(name, params, entry, at)

    @staticmethod
    def plainly(model: str) -> str:
        """A model's name without what LiteLLM says of its way."""
        for start in ("converse/", "invoke/", "responses/", "chat/", "claude/"):
            model = model.removeprefix(start)
        return model

    def provider(self, meant: _Prefix, model: str, params: Mapping[str, Any], at: str) -> str | None:
        """The name of the provider's entry, made if it is new; ``None`` if it cannot be."""
        here = f"{at}.litellm_params"
        row, entry = meant.provider, dict[str, Any]()
        url = params.get("api_base") or params.get("base_url") or meant.url
        if url and _REFERENCE.match(str(url)):
            self.plain(f"{here}.api_base", url)
            return None
        if row == "openai" and url and "api.openai.com" not in str(url):
            row = "openai-compatible"
        if row == "vertex-ai" and "claude" in model:
            row = "vertex-anthropic"
        if row == "bedrock" and model.startswith("invoke/"):
            row = "bedrock-anthropic"
        if row == "azure-openai" and params.get("api_version"):
            version = self.plain(f"{here}.api_version", params["api_version"])
            entry |= {"provider_conf": {"api_version": version}} if version else {}
        if url:
            entry["url"] = str(url).rstrip("/")
        elif row in ("openai-compatible", "azure-openai"):
            self.note(f"{here}.api_base", f"is needed: where {row} is served; left out")
            return None
        if not self.credentials(row, entry, meant, params, here):
            return None
        name = row if row != "openai-compatible" else self.called(str(entry.get("url", "")), params)
        return self.entered(row, entry, name)

    def credentials(
        self, row: str, entry: dict[str, Any], meant: _Prefix, params: Mapping[str, Any], here: str
    ) -> bool:  # fmt: skip
        conf = entry.setdefault("provider_conf", {})
        if row in ("bedrock", "bedrock-anthropic"):
            region = self.plain(f"{here}.aws_region_name", params.get("aws_region_name", "us-east-1"))
            conf["region"] = region or "us-east-1"
            named = {ours: params.get(theirs) for ours, theirs in (
                ("access_key_id", "aws_access_key_id"), ("secret_access_key", "aws_secret_access_key"),
                ("session_token", "aws_session_token"),
            )}  # fmt: skip
            keys = {
                ours: self.text(f"{here}.aws_{ours}", value, f"AWS_{ours.upper()}")
                for ours, value in named.items()
                if value
            }
            entry["auth"] = {"aws": keys}
        elif row in ("vertex-ai", "vertex-anthropic"):
            project = self.plain(f"{here}.vertex_project", params.get("vertex_project", ""))
            conf["region"] = self.plain(f"{here}.vertex_location", params.get("vertex_location", "global")) or "global"
            if not project:
                self.note(f"{here}.vertex_project", "is needed: the project's name; left out")
                return False
            conf["project_id"] = project
            entry["auth"] = {"gcp": {}}
            file = params.get("vertex_credentials")
            if isinstance(file, str) and file.startswith("/"):
                entry["auth"] = {"gcp": {"service_account_json": f"${{file:{file}}}"}}
            else:
                where = "the service account's key is expected as GCP_SERVICE_ACCOUNT in the sidecar's environment"
                self.note(f"{here}.vertex_credentials", where)
        elif str(params.get("api_key", "")).lower() in ("none", "dummy", "any", "fake-key", "anything"):
            # What stands for no key.
            entry |= {} if row == "openai-compatible" else {"auth": "none"}
        elif params.get("api_key"):
            entry["key"] = self.text(f"{here}.api_key", params["api_key"], _variable(row, meant))
        elif row == "openai-compatible" and meant.key:
            entry["key"] = f"${{{meant.key}}}"
        if not conf:
            del entry["provider_conf"]
        return True

    def entered(self, row: str, entry: dict[str, Any], name: str) -> str:
        """The name under which that very entry stands."""
        whole = {**({} if name == row else {"provider": row}), **entry}
        if whole.get("key") in [f"${{{name}}}" for name in PROVIDERS[row].variables]:
            del whole["key"]
        number = 1
        chosen = name
        while self.providers.get(chosen, whole) != whole:
            number += 1
            chosen = f"{name}-{number}"
            whole = {"provider": row, **whole}
        self.providers[chosen] = whole
        return chosen

    @staticmethod
    def called(url: str, params: Mapping[str, Any]) -> str:
        """A name for a server: what stood before its models' names, else its host."""
        prefix = str(params.get("model", "")).partition("/")[0]
        if prefix in PREFIXES and PREFIXES[prefix].provider == "openai-compatible":
            return prefix.replace("_", "-")
        host = re.sub(r"[^A-Za-z0-9.-]", "-", url.partition("//")[2].partition("/")[0].partition(":")[0])
        return host[:40] or "server"

    def about(self, name: str, params: Mapping[str, Any], entry: Mapping[str, Any], at: str) -> None:
        """What LiteLLM sets in requests for the model, and what it does that is not done here."""
        says = self.says.setdefault(name, {})
        options = {key: value for key, value in params.items() if key in _OPTIONS}
        if options:
            says["options"] = {**says.get("options", {}), **options}
        if isinstance(params.get("max_tokens"), int):
            says["override"] = {"llm_options": {"max_tokens": params["max_tokens"]}}
        if prices := {
            ours: round(params[theirs] * PER, 6) for theirs, ours in _COSTS.items() if _is_cost(params, theirs)
        }:
            says["prices"] = prices
        for key in params:
            if key not in _OPTIONS | _SILENT | _COSTS.keys() and not key.startswith(("aws_", "vertex_")):
                self.note(f"{at}.litellm_params.{key}", _PARAMS.get(key, "has no equivalent here, and is left out"))
        info = entry.get("model_info")
        mode = info.get("mode") if isinstance(info, dict) else None
        if mode not in (None, "chat", "completion", "responses", "embedding"):
            self.note(f"{at}.model_info.mode", f"{mode} is not served here")

    # ---- what holds for all

    def fallbacks(self, listed: Any, at: str) -> None:
        """A list of mappings, each of a name to those that are asked next."""
        for number, item in enumerate(listed if isinstance(listed, list) else []):
            for name, others in item.items() if isinstance(item, dict) else []:
                here = f"{at}[{number}].{name}"
                if name not in self.uses:
                    self.note(here, "there is no such model in model_list: left out")
                    continue
                for other in others if isinstance(others, list) else [others]:
                    if other in self.uses:
                        self.uses[name] += [use for use in self.named(str(other)) if use not in self.uses[name]]
                    else:
                        self.note(here, f"{other!r} is not in model_list: left out")

    def named(self, name: str) -> list[str]:
        """The places of a name, each with the model in full: it is asked for there by another name."""
        return [use if "/" in use else f"{use}/{name}" for use in self.uses[name]]

    def aliases(self, given: Any, at: str) -> None:
        for alias, value in given.items() if isinstance(given, dict) else []:
            name = value.get("model") if isinstance(value, dict) else value
            if name in self.uses:
                self.uses[str(alias)] = [str(name)]
            else:
                self.note(f"{at}.{alias}", f"{name!r} is not in model_list: left out")

    def default(self, names: Any, at: str) -> None:
        """What is asked where any other fails."""
        for name in names if isinstance(names, list) else []:
            if name not in self.uses:
                self.note(at, f"{name!r} is not in model_list: left out")
                continue
            for own, uses in self.uses.items():
                if own != name and own not in uses:
                    uses += [use for use in self.named(str(name)) if use not in self.named(own)]


def _is_cost(params: Mapping[str, Any], name: str) -> bool:
    return type(params.get(name)) in (int, float) and 0 <= params[name] * PER <= MOST


def _variable(row: str, meant: _Prefix) -> str:
    if meant.key:
        return meant.key
    usual = PROVIDERS[row].variables
    return usual[0] if usual else re.sub(r"\W", "_", row).upper() + "_API_KEY"


def _settings(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in ("litellm_settings", "router_settings", "general_settings"):
        found = document.get(part)
        if isinstance(found, dict):
            yield part, found


def read(documents: list[dict[str, Any]], note: Callable[[str, str], None]) -> dict[str, Any]:
    """*documents*, each a whole ``config.yaml``, as one gateway's file; *note* is told of what has no equivalent.
    Raises ImportFailed."""
    made = _Read(note)
    for document in documents:
        for number, entry in enumerate(document.get("model_list") or []):
            made.model(entry, f"model_list[{number}]")
    for document in documents:
        for part, found in _settings(document):
            made.fallbacks(found.get("fallbacks"), f"{part}.fallbacks")
            made.aliases(found.get("model_group_alias"), f"{part}.model_group_alias")
    for document in documents:
        for part, found in _settings(document):
            made.default(found.get("default_fallbacks"), f"{part}.default_fallbacks")
            for key in found:
                if key not in _QUIET:
                    note(f"{part}.{key}", _SETTINGS.get(key, "has no equivalent here, and is left out"))
        for part in document:
            if part not in ("model_list", "litellm_settings", "router_settings", "general_settings"):
                note(part, "has no equivalent here, and is left out")
    if not made.uses:
        raise ImportFailed("model_list names no model that could be served")
    for name, uses in made.uses.items():
        if len(uses) > 1 and made.says.get(name, {}).pop("prices", None):
            note(f"model_list: {name}: input_cost_per_token", "of several providers: `prices` of each, or --prices")
    models = {name: _said(uses, made.says.get(name, {})) for name, uses in made.uses.items()}
    return {"providers": made.providers, "models": models}


def _said(uses: list[str], says: dict[str, Any]) -> Any:
    use: Any = uses[0] if len(uses) == 1 else uses
    return {"use": use, **says} if says else use
