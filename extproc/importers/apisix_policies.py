"""APISIX's plugins that look at prompts, as the policies of a route."""

from __future__ import annotations

import re
from typing import Any

from ..gateway.envoy import Made, Wanted, leftovers
from .patterns import is_re2


def policies(plugins: dict[str, Any], wanted: Wanted, made: Made) -> None:
    """Of *plugins*, some of PLUGINS: in the order in which APISIX runs them."""
    found = []
    for name in PLUGINS:
        if name in plugins:
            plugin = dict(plugins[name] or {})
            plugin.pop("_meta", None)
            kind, members = _KINDS[name]
            found.append({kind: members(plugin, made, f"plugins.{name}")})
            leftovers(plugin, made, f"plugins.{name}.")
    if {"ai-prompt-decorator", "ai-request-rewrite"} <= plugins.keys():
        without = "rewrites what the client has sent, without what ai-prompt-decorator adds"
        made.note("plugins.ai-request-rewrite", without)
    if found:
        wanted.level["policies"] = found


def _guard(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in ("allow_patterns", "deny_patterns"):
        if patterns := plugin.pop(name, None):
            members[name] = patterns
            for at, pattern in enumerate(patterns):
                if not is_re2(str(pattern)):
                    made.note(f"{path}.{name}[{at}]", "is no pattern of RE2's: write it without look-arounds")
    for name in ("match_all_roles", "match_all_conversation_history", "deny_message", "fail_mode"):
        if name in plugin:
            members[name] = plugin.pop(name)
    members["deny_code"] = plugin.pop("deny_code", 400)
    return members


def _template(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    templates = plugin.pop("templates", [])
    made.note(path, "a request that names no template goes on as it came, where APISIX refuses it")
    return {"templates": [{name: each[name] for name in ("name", "template") if name in each} for each in templates]}


def _around(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    return {name: plugin.pop(name) for name in ("prepend", "append") if plugin.get(name)}


def _rewrite(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    members: dict[str, Any] = {name: plugin.pop(name) for name in ("prompt", "provider") if name in plugin}
    provider = str(members.get("provider", ""))
    auth: dict[str, dict[str, str]] = {}
    given = plugin.pop("auth", None) or {}
    for part in ("header", "query"):
        if values := given.get(part):
            auth[part] = {
                name: made.secret(f"{path}.auth.{part}.{name}", name, str(value), provider)
                for name, value in values.items()
            }
    members["auth"] = auth or "none"
    members |= {name: plugin.pop(name) for name in ("options", "override") if plugin.get(name)}
    if not (members.get("options") or {}).get("model"):
        made.note(f"{path}.options.model", "names no model, and one is needed here: put yours in place of MODEL")
        members["options"] = {**(members.get("options") or {}), "model": "MODEL"}
    members["timeout"] = plugin.pop("timeout", 30_000) / 1000
    _connection(plugin, made, path)
    made.note(path, "the model must answer with a request of the client's API: nothing is wrapped around it")
    return members


def _aliyun(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    members: dict[str, Any] = {"provider": "aliyun"}
    members |= {name: plugin.pop(name) for name in _ALIYUNS_OWN if name in plugin}
    for name in ("region_id", "endpoint"):
        if "${" in str(members.get(name, "")):
            made.note(f"{path}.{name}", f"{members[name]} stands in the environment, and is needed here: write it out")
    for name in ("access_key_id", "access_key_secret"):
        members[name] = made.secret(f"{path}.{name}", "api-key", str(plugin.pop(name, "")), "aliyun")
    roles = plugin.pop("request_check_roles", ["user"])
    members["match_all_conversation_history"] = plugin.pop("request_check_mode", "last") == "all"
    members["match_all_roles"] = "system" in roles
    members["tool_results"] = "tool" in roles
    if "system" in roles:
        made.note(f"{path}.request_check_roles", "with system prompts everybody's words are looked at")
    lengths = [plugin.pop(f"{phase}_check_length_limit", most) for phase, most in _ALIYUNS_LENGTHS.items()]
    members["max_chars"] = min(max(min(lengths), _LEAST_CHARS), _MOST_CHARS)
    if members["max_chars"] != min(lengths):
        made.note(f"{path}.request_check_length_limit", f"is {_LEAST_CHARS} to {_MOST_CHARS} here")
    streams = plugin.pop("stream_check_mode", "final_packet")
    members["stream_check_mode"] = streams.removesuffix("_packet")
    pieces, seconds = plugin.pop("stream_check_cache_size", 128), plugin.pop("stream_check_interval", None)
    if streams == "realtime":
        members["stream_check_interval"] = pieces
        if seconds is not None:
            made.note(f"{path}.stream_check_interval", "is counted in characters here: stream_check_cache_size it is")
    members["fail"] = "closed" if plugin.pop("fail_mode", "skip") == "error" else "open"
    members["timeout"] = plugin.pop("timeout", 10_000) / 1000
    _connection(plugin, made, path)
    return members


_ALIYUNS_OWN = (
    "region_id", "endpoint", "request_check_service", "response_check_service", "risk_level_bar", "check_request",
    "check_response", "deny_code", "deny_message",
)  # fmt: skip
"""Members that are called the same here."""
_ALIYUNS_LENGTHS = {"request": 2000, "response": 5000}
_LEAST_CHARS, _MOST_CHARS = 200, 2000


def _rag(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    """Of both forms: with the fields in the plugin, or, once, in the body of each request."""
    members: dict[str, Any] = {}
    for name, about in (plugin.pop("embeddings_provider", None) or {}).items():
        members["embeddings"] = _embeddings(name, dict(about or {}), made, f"{path}.embeddings_provider.{name}")
    for name, about in (plugin.pop("vector_search_provider", None) or {}).items():
        where = f"{path}.vector_search_provider.{name}"
        if name.replace("-", "_") != "azure_ai_search":
            made.note(where, "is no store that is known here: set search")
            continue
        about = dict(about or {})
        members["top_k"] = about.pop("k", 5)
        members["search"] = _search(about, made, where)
    return members


def _embeddings(name: str, about: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    azure = name.replace("-", "_") == "azure_openai"
    key = made.secret(f"{path}.api_key", "api-key", str(about.pop("api_key", "")), name)
    options = {"model": about.pop("model", "text-embedding-3-large")}
    if "dimensions" in about:
        options["dimensions"] = about.pop("dimensions")
    members = {
        "provider": "azure-openai" if azure else "openai-compatible",
        "auth": {"header": {"api-key": key} if azure else {"authorization": f"Bearer {key}"}},
        "override": {"endpoint": about.pop("endpoint", "")},
        "options": options,
    }
    leftovers(about, made, f"{path}.")
    return members


def _search(about: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    endpoint = str(about.pop("endpoint", ""))
    found = _INDEX.match(endpoint)
    if found is None:
        made.note(f"{path}.endpoint", "names no index: put yours in place of INDEX")
    if "fields" not in about:
        made.note(path, "what a client says in ai_rag is not read here: put the index's fields in place of "
                  "contentVector and content")  # fmt: skip
    about.pop("exhaustive", None)
    members = {
        "kind": "azure_ai_search",
        "endpoint": found[1] if found else endpoint,
        "index": found[2] if found else "INDEX",
        "api_key": made.secret(f"{path}.api_key", "api-key", str(about.pop("api_key", "")), "azure_ai_search"),
        "vector_field": about.pop("fields", "contentVector"),
        "text_field": about.pop("select", "content"),
    }
    leftovers(about, made, f"{path}.")
    return members


_INDEX = re.compile(r"(https?://[^/]+)/indexes/([^/?]+)/docs/search")


def _connection(plugin: dict[str, Any], made: Made, path: str) -> None:
    """What says how the service is connected to."""
    for name in ("keepalive", "keepalive_pool", "keepalive_timeout"):
        plugin.pop(name, None)
    if not plugin.pop("ssl_verify", True):
        made.note(f"{path}.ssl_verify", "the sidecar verifies the service's certificate, always")


_KINDS = {
    "ai-prompt-template": ("prompt_template", _template),
    "ai-prompt-decorator": ("prompt_decorator", _around),
    "ai-request-rewrite": ("request_rewrite", _rewrite),
    "ai-prompt-guard": ("prompt_guard", _guard),
    "ai-rag": ("rag", _rag),
    "ai-aliyun-content-moderation": ("moderation", _aliyun),
}
"""By the phases in which APISIX runs them, then by their priorities."""
PLUGINS = tuple(_KINDS)
