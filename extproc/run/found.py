"""What there is on this machine to make a gateway of: keys in the environment, servers that answer on their ports."""

from __future__ import annotations

import configparser
import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..credentials.aws import home, shared_file
from ..gateway.known import known
from ..providers import PROVIDERS
from ..wire import NoAnswer, ask

PROBE_SECONDS = 1.0
"""A server on this machine that has not answered by then is not there."""
MAX_PROBE_BYTES = 1024 * 1024
MAX_LISTED = 64
"""Models of one server that clients are told of."""


@dataclass(frozen=True)
class Local:
    """A model server that is usually found at a port of this machine."""

    name: str
    port: int
    url: str = ""
    """The variable by which it is told to be elsewhere."""


LOCALS = (
    Local("ollama", 11434, "OLLAMA_HOST"),
    Local("vllm", 8000, "VLLM_BASE_URL"),
    Local("lmstudio", 1234, "LMSTUDIO_BASE_URL"),
    Local("llamacpp", 8080, "LLAMACPP_BASE_URL"),
)


@dataclass
class Findings:
    """What is there."""

    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As ``extproc.yaml`` has them, those first that answer whatever is not another's."""
    by: dict[str, str] = field(default_factory=dict)
    """A provider -> what it was found by, in words."""
    missing: dict[str, str] = field(default_factory=dict)
    """What was not found -> what to set."""
    notes: list[str] = field(default_factory=list)
    """What is there and cannot be used, with what to do."""

    def add(self, name: str, entry: Mapping[str, Any], by: str) -> None:
        self.providers[name] = dict(entry)
        self.by[name] = by


def find(environ: Mapping[str, str], own: str = "", *, probe: bool = True) -> Findings:
    """All of it. *own* is where the gateway itself will listen (``host:port``): a variable that leads there is for
    clients. *probe*: whether to ask for local servers."""
    found = Findings()
    _keys(environ, found, own)
    _azure(environ, found)
    _google(environ, found)
    _aws(environ, found)
    if probe:
        _locals(environ, found, own)
    proxy = next((name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if environ.get(name)), None)
    if proxy is not None:
        found.notes.append(f"{proxy} is set, and Envoy does not use it: providers are asked directly")
    return found


def _keys(environ: Mapping[str, str], found: Findings, own: str) -> None:
    """The providers that need a key and nothing else: by their rows."""
    for row in PROVIDERS.values():
        variables = row.variables
        if row.host is None or len(variables) != 1:
            continue
        more = known(row.name)
        variable = next((name for name in (*variables, *more.keys) if environ.get(name)), None)
        url = environ.get(more.url, "") if more.url else ""
        if url and _is(url, own):
            found.notes.append(f"{more.url} leads to this gateway itself: it is not used here")
            url = ""
        if variable is None:
            found.missing[row.name] = variables[0]
            continue
        entry: dict[str, Any] = {} if variable == variables[0] else {"key": f"${{{variable}}}"}
        by = variable
        if url and urlsplit(url).hostname != row.host:
            entry["url"] = url
            by = f"{variable}, {more.url}"
            if row.name == "openai":
                # Another server that speaks OpenAI's API, with rules of its own.
                entry = {"provider": "openai-compatible", "key": f"${{{variable}}}", **entry}
        found.add(row.name, entry, by)


def _azure(environ: Mapping[str, str], found: Findings) -> None:
    key, endpoint = "AZURE_OPENAI_API_KEY", environ.get("AZURE_OPENAI_ENDPOINT", "")
    if environ.get(key) and endpoint:
        version = environ.get("OPENAI_API_VERSION") or environ.get("AZURE_OPENAI_API_VERSION")
        conf = {"provider_conf": {"api_version": version}} if version else {}
        found.add("azure-openai", {"url": endpoint.rstrip("/"), **conf}, f"{key}, AZURE_OPENAI_ENDPOINT")
    elif environ.get(key) or endpoint:
        absent = "AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com" if environ.get(key) else f"{key}=..."
        found.notes.append(f"azure-openai also needs {absent}")
    key = next((k for k in ("AZURE_ANTHROPIC_API_KEY", "ANTHROPIC_FOUNDRY_API_KEY") if environ.get(k)), "")
    endpoint, resource = environ.get("AZURE_ANTHROPIC_ENDPOINT", ""), environ.get("ANTHROPIC_FOUNDRY_RESOURCE", "")
    if key and (endpoint or resource):
        where = {"url": endpoint.rstrip("/")} if endpoint else {"provider_conf": {"resource": resource}}
        named = {} if key == "AZURE_ANTHROPIC_API_KEY" else {"key": f"${{{key}}}"}
        found.add("azure-anthropic", {**where, **named}, key)
    elif key:
        found.notes.append("azure-anthropic also needs AZURE_ANTHROPIC_ENDPOINT=https://RESOURCE.services.ai.azure.com")


def _google(environ: Mapping[str, str], found: Findings) -> None:
    file = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    text = environ.get("GCP_SERVICE_ACCOUNT", "")
    by = "GCP_SERVICE_ACCOUNT" if text else "GOOGLE_APPLICATION_CREDENTIALS"
    usual = home(environ) / ".config" / "gcloud" / "application_default_credentials.json"
    if not file and not text:
        if not usual.is_file():
            return
        file = by = str(usual)
    try:
        key = json.loads(text or Path(file).read_text("utf-8"))
        if key.get("type") != "service_account":
            raise ValueError("it is no service account's key, of which Vertex AI is asked here")
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        found.notes.append(f"{by} is not used: {reason}")
        return
    project = environ.get("GOOGLE_CLOUD_PROJECT") or str(key.get("project_id", ""))
    region = environ.get("GOOGLE_CLOUD_LOCATION") or environ.get("CLOUD_ML_REGION") or "global"
    if not project:
        found.notes.append("Vertex AI also needs GOOGLE_CLOUD_PROJECT=...")
        return
    auth = {"gcp": {} if text else {"service_account_json": f"${{file:{Path(file).absolute()}}}"}}
    for name in ("vertex-ai", "vertex-anthropic"):
        found.add(name, {"provider_conf": {"project_id": project, "region": region}, "auth": auth}, by)


def _aws(environ: Mapping[str, str], found: Findings) -> None:
    key = "AWS_BEARER_TOKEN_BEDROCK"
    profile, shared = environ.get("AWS_PROFILE") or "default", shared_file(environ)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _region(environ, profile)
    auth: dict[str, Any] = {}
    if environ.get(key):
        by = key
    elif environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
        by, auth = "AWS_ACCESS_KEY_ID", {"auth": {"aws": {}}}
    elif environ.get("AWS_PROFILE") or environ.get("AWS_SHARED_CREDENTIALS_FILE") or Path(shared).is_file():
        by, auth = f"profile {profile} in {shared}", {"auth": {"aws": {"credentials_file": shared, "profile": profile}}}
    else:
        return
    if not region:
        found.notes.append("Bedrock also needs AWS_REGION=us-east-1")
        return
    found.add("bedrock", {"provider_conf": {"region": region}, **auth}, by)


def _region(environ: Mapping[str, str], profile: str) -> str:
    """What `aws configure` wrote down for *profile*; empty if it did not."""
    parser = configparser.RawConfigParser()
    with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):
        file = Path(environ.get("AWS_CONFIG_FILE") or home(environ) / ".aws" / "config")
        parser.read_string(file.read_text("utf-8"))
    section = profile if profile == "default" else f"profile {profile}"
    return parser.get(section, "region", fallback="")


def _is(url: str, own: str) -> bool:
    """Whether *url* leads to ``host:port`` *own* on this machine."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        return (
            own != ""
            and parts.hostname in ("127.0.0.1", "localhost", "::1")
            and f":{parts.port}" == f":{own.rpartition(':')[2]}"
        )
    except ValueError:
        return False


# ---- servers of this machine


def _locals(environ: Mapping[str, str], found: Findings, own: str) -> None:
    with ThreadPoolExecutor(len(LOCALS)) as pool:
        asked = [(local, *_address(local, environ)) for local in LOCALS]
        answers = pool.map(lambda one: models_of(one[1], one[2]), asked)
        for (local, host, port), models in zip(asked, answers, strict=True):
            address = f"{host}:{port}"
            if models is None:
                found.missing[local.name] = address
            elif not _is(f"http://{address}", own):
                entry = {"provider": "openai-compatible", "url": f"http://{address}/v1", "models": models[:MAX_LISTED]}
                found.add(local.name, entry, address)


def _address(local: Local, environ: Mapping[str, str]) -> tuple[str, int]:
    text = environ.get(local.url, "")
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        host, port = parts.hostname or "127.0.0.1", parts.port or local.port
    except ValueError:
        host, port = "127.0.0.1", local.port
    # What a server binds is no address to connect to.
    return "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host, port


def models_of(host: str, port: int) -> list[str] | None:
    """The models of the server at *port*, if it is one that speaks OpenAI's API."""
    at = f"[{host}]" if ":" in host else host
    try:
        answer = ask(f"http://{at}:{port}", "/v1/models", seconds=PROBE_SECONDS, most=MAX_PROBE_BYTES)
    except NoAnswer:
        return None
    body = answer.json if answer.status == 200 else None
    return list(_ids(body)) if isinstance(body, dict) and isinstance(body.get("data"), list) else None


def _ids(body: dict[str, Any]) -> Iterator[str]:
    for item in body["data"]:
        name = item.get("id") if isinstance(item, dict) else None
        if isinstance(name, str) and name and "*" not in name:
            yield name
