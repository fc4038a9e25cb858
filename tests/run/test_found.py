"""What is found on a machine, by its environment and by what answers on its ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.provider import Received, ScriptedAnswer, ScriptedProvider, json_answer
from extproc.gateway import lay_out
from extproc.gateway.file import gateway
from extproc.run import found
from extproc.run.found import Findings, Local, find
from tests.support.ports import free_port

OWN = "127.0.0.1:10000"
NOBODYS = {"HOME": "/nowhere"}
"""No file of this machine's user is found."""
AZURE = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/"}
ACCOUNT = {
    "type": "service_account",
    "client_email": "a@b",
    "private_key": "-",
    "token_uri": "https://t",
    "project_id": "p",
}


def there(environ: Mapping[str, str]) -> Findings:
    made = find({**NOBODYS, **environ}, OWN, probe=False)
    if made.providers:
        lay_out(gateway({"providers": made.providers}))
    return made


@pytest.mark.parametrize(
    ("environ", "providers"),
    [
        ({}, {}),
        ({"OPENAI_API_KEY": ""}, {}),
        ({"OPENAI_API_KEY": "k"}, {"openai": {}}),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://api.openai.com/v1"}, {"openai": {}}),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h:1/v1"},
         {"openai": {"provider": "openai-compatible", "key": "${OPENAI_API_KEY}", "url": "http://h:1/v1"}}),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://h:1"}, {"anthropic": {"url": "http://h:1"}}),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://localhost:10000"}, {"anthropic": {}}),
        ({"GEMINI_API_KEY": "k"}, {"gemini": {}}),
        ({"GOOGLE_API_KEY": "k"}, {"gemini": {"key": "${GOOGLE_API_KEY}"}}),
        ({"OPENROUTER_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "AIMLAPI_API_KEY": "k"},
         {"deepseek": {}, "aimlapi": {}, "openrouter": {}}),
        (AZURE, {"azure-openai": {"url": "https://r.openai.azure.com"}}),
        (AZURE | {"OPENAI_API_VERSION": "2024-10-21"},
         {"azure-openai": {"url": "https://r.openai.azure.com", "provider_conf": {"api_version": "2024-10-21"}}}),
        ({"AZURE_OPENAI_API_KEY": "k"}, {}),
        ({"ANTHROPIC_FOUNDRY_API_KEY": "k", "ANTHROPIC_FOUNDRY_RESOURCE": "r"},
         {"azure-anthropic": {"provider_conf": {"resource": "r"}, "key": "${ANTHROPIC_FOUNDRY_API_KEY}"}}),
        ({"AZURE_ANTHROPIC_API_KEY": "k", "AZURE_ANTHROPIC_ENDPOINT": "https://r.services.ai.azure.com/anthropic"},
         {"azure-anthropic": {"url": "https://r.services.ai.azure.com/anthropic"}}),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "us-east-1"},
         {"bedrock": {"provider_conf": {"region": "us-east-1"}}}),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "eu-west-1"},
         {"bedrock": {"provider_conf": {"region": "eu-west-1"}, "auth": {"aws": {}}}}),
        ({"AWS_PROFILE": "work", "HOME": "/h", "AWS_REGION": "eu-west-1"},
         {"bedrock": {"provider_conf": {"region": "eu-west-1"},
                      "auth": {"aws": {"credentials_file": "/h/.aws/credentials", "profile": "work"}}}}),
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, {}),
        ({"GCP_SERVICE_ACCOUNT": json.dumps(ACCOUNT)},
         {name: {"provider_conf": {"project_id": "p", "region": "global"}, "auth": {"gcp": {}}}
          for name in ("vertex-ai", "vertex-anthropic")}),
    ],
)  # fmt: skip
def test_the_environment(environ: dict[str, str], providers: dict[str, Any]) -> None:
    assert there(environ).providers == providers


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"AZURE_OPENAI_API_KEY": "k"}, "AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com"),
        ({"AZURE_OPENAI_ENDPOINT": "https://h"}, "AZURE_OPENAI_API_KEY=..."),
        ({"AZURE_ANTHROPIC_API_KEY": "k"}, "AZURE_ANTHROPIC_ENDPOINT=https://"),
        ({"AWS_BEARER_TOKEN_BEDROCK": "k"}, "AWS_REGION=us-east-1"),
        ({"GCP_SERVICE_ACCOUNT": "{}"}, "no service account's key"),
        ({"GCP_SERVICE_ACCOUNT": "[]"}, "GCP_SERVICE_ACCOUNT is not used"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, "No such file"),
        ({"GCP_SERVICE_ACCOUNT": json.dumps(ACCOUNT | {"project_id": ""})}, "GOOGLE_CLOUD_PROJECT=..."),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": f"http://{OWN}"}, "leads to this gateway itself"),
        ({"https_proxy": "http://proxy:3128"}, "https_proxy is set, and Envoy does not use it"),
    ],
)
def test_half_of_it_is_said_with_the_other_half(environ: dict[str, str], word: str) -> None:
    assert [note for note in there(environ).notes if word in note]


def test_a_service_account_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(ACCOUNT))
    made = there({"GOOGLE_APPLICATION_CREDENTIALS": str(file), "GOOGLE_CLOUD_LOCATION": "europe-west1"})
    entry = made.providers["vertex-anthropic"]
    assert entry["auth"] == {"gcp": {"service_account_json": f"${{file:{file}}}"}}
    assert entry["provider_conf"] == {"project_id": "p", "region": "europe-west1"}


def test_what_aws_configure_wrote(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    (tmp_path / ".aws").mkdir()
    file = tmp_path / ".aws" / "credentials"
    keys = "aws_access_key_id = AKIA\naws_secret_access_key = s\n"
    file.write_text(f"[default]\n{keys}[work]\n{keys}")
    assert there(home).providers == {} and "AWS_REGION" in there(home).notes[0]
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n[profile work]\nregion = us-east-2\n")
    for environ, profile, region in (
        ({}, "default", "eu-west-1"),
        ({"AWS_PROFILE": "work"}, "work", "us-east-2"),
        ({"AWS_REGION": "eu-north-1"}, "default", "eu-north-1"),
    ):
        auth = {"aws": {"credentials_file": str(file), "profile": profile}}
        assert there(home | environ).providers == {"bedrock": {"provider_conf": {"region": region}, "auth": auth}}
    made = there(home | {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}).providers["bedrock"]
    assert made == {"provider_conf": {"region": "eu-west-1"}, "auth": {"aws": {}}}


def test_whoever_has_no_home_has_no_files_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, say, whose user has no name."""

    def nobodys() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobodys)
    assert find({"OPENAI_API_KEY": "k"}, OWN, probe=False).providers.keys() == {"openai"}


def test_what_gcloud_wrote_is_a_users(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    file = folder / "application_default_credentials.json"
    file.write_text(json.dumps({"type": "authorized_user"}))
    home = {"HOME": str(tmp_path)}
    assert f"{file} is not used: it is no service account's key" in there(home).notes[0]
    file.write_text(json.dumps(ACCOUNT))
    assert there(home).providers.keys() == {"vertex-ai", "vertex-anthropic"}


def test_what_is_missing_is_named_by_its_variable() -> None:
    missing = there({"OPENAI_API_KEY": "k"}).missing
    assert missing["anthropic"] == "ANTHROPIC_API_KEY" and "openai" not in missing


def answering(body: Any, status: int = 200) -> ScriptedProvider:
    def respond(request: Received) -> ScriptedAnswer:
        return json_answer(body, status) if request.path == "/v1/models" else json_answer({}, 404)

    return ScriptedProvider(respond)


def test_a_local_server_is_found_with_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"object": "list", "data": [{"id": "qwen3:8b"}, {"id": 7}, "no", {"id": "a*"}]}
    with answering(listed) as one, answering({"hello": 1}) as web, answering({}, 500) as broken:
        locals_ = [
            Local("one", one.port),
            Local("web", web.port),
            Local("broken", broken.port),
            Local("no", free_port()),
        ]
        monkeypatch.setattr(found, "LOCALS", tuple(locals_))
        made = find(NOBODYS, OWN)
    url = f"http://127.0.0.1:{one.port}/v1"
    assert made.providers == {"one": {"provider": "openai-compatible", "url": url, "models": ["qwen3:8b"]}}
    assert set(made.missing) >= {"web", "broken", "no"}
    lay_out(gateway({"providers": made.providers}))


@pytest.mark.parametrize(
    ("told", "port"),
    [("127.0.0.1:{}", True), ("http://localhost:{}", True), ("0.0.0.0:{}", True), ("http://[:{}", False)],
)
def test_a_local_server_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch, told: str, port: bool) -> None:
    with answering({"data": []}) as one:
        monkeypatch.setattr(found, "LOCALS", (Local("ollama", free_port(), "OLLAMA_HOST"),))
        made = find(NOBODYS | {"OLLAMA_HOST": told.format(one.port)}, OWN)
    assert ("ollama" in made.providers) is port


def test_the_gateway_itself_is_no_local_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"data": []}) as one:
        monkeypatch.setattr(found, "LOCALS", (Local("vllm", one.port),))
        assert find(NOBODYS, f"127.0.0.1:{one.port}").providers == {}
