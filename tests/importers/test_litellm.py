"""LiteLLM's configuration, as the gateway's file that does the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.gateway import lay_out, read
from extproc.importers import Imported, ImportFailed, convert
from tests.support.command_line import Run, runner

CASES = Path(__file__).parent / "cases"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    return runner(monkeypatch, capfdbinary)


def imported(text: str | bytes) -> Imported:
    return convert("litellm", text.encode() if isinstance(text, str) else text, to="extproc")


def file_of(made: Imported) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(made.yaml)
    lay_out(read(made.yaml))
    return found


def one(params: str, name: str = "m") -> tuple[dict[str, Any], Any, list[str]]:
    """The provider, the place and the notes of a single model."""
    made = imported(f"model_list: [{{model_name: '{name}', litellm_params: {params}}}]")
    found = file_of(made)
    ((provider, entry),) = found["providers"].items()
    return {"name": provider, **entry}, found["models"][name], made.notes


@pytest.mark.parametrize(
    ("params", "entry", "place"),
    [
        ("{model: openai/gpt-5.4, api_key: os.environ/OPENAI_API_KEY}", {"name": "openai"}, "openai/gpt-5.4"),
        ("{model: gpt-5.4}", {"name": "openai"}, "openai/gpt-5.4"),
        ("{model: claude-opus-4-8}", {"name": "anthropic"}, "anthropic/claude-opus-4-8"),
        ("{model: anthropic/claude-opus-4-8, api_key: os.environ/K}", {"name": "anthropic", "key": "${K}"},
         "anthropic/claude-opus-4-8"),
        ("{model: openai/m, api_base: 'http://h:1/v1', api_key: os.environ/K}",
         {"name": "h", "provider": "openai-compatible", "url": "http://h:1/v1", "key": "${K}"}, "h"),
        ("{model: azure/d, api_base: 'https://r.openai.azure.com/', api_version: '2024-10-21'}",
         {"name": "azure-openai", "url": "https://r.openai.azure.com", "provider_conf": {"api_version": "2024-10-21"}},
         "azure-openai/d"),
        ("{model: ollama/llama3}", {"name": "ollama", "provider": "openai-compatible", "url": "http://127.0.0.1:11434"},
         "ollama/llama3"),
        ("{model: groq/llama-3.3-70b}", {"name": "groq", "provider": "openai-compatible", "key": "${GROQ_API_KEY}",
                                         "url": "https://api.groq.com/openai/v1"}, "groq/llama-3.3-70b"),
        ("{model: openrouter/anthropic/claude-x}", {"name": "openrouter"}, "openrouter/anthropic/claude-x"),
        ("{model: bedrock/converse/amazon.nova-lite-v1:0, aws_region_name: eu-west-1}",
         {"name": "bedrock", "provider_conf": {"region": "eu-west-1"}, "auth": {"aws": {}}},
         "bedrock/amazon.nova-lite-v1:0"),
        ("{model: bedrock/a.b, aws_access_key_id: os.environ/A, aws_secret_access_key: os.environ/B}",
         {"name": "bedrock", "provider_conf": {"region": "us-east-1"},
          "auth": {"aws": {"access_key_id": "${A}", "secret_access_key": "${B}"}}}, "bedrock/a.b"),
        ("{model: vertex_ai/claude-x, vertex_project: p, vertex_location: us-east5, vertex_credentials: /k.json}",
         {"name": "vertex-anthropic", "provider_conf": {"region": "us-east5", "project_id": "p"},
          "auth": {"gcp": {"service_account_json": "${file:/k.json}"}}}, "vertex-anthropic/claude-x"),
        ("{model: hosted_vllm/a/b, api_base: 'http://h:8000', api_key: none}",
         {"name": "hosted-vllm", "provider": "openai-compatible", "url": "http://h:8000"}, "hosted-vllm/a/b"),
        ("{model: my/thing, api_base: 'http://h:8000', custom_llm_provider: openai}",
         {"name": "h", "provider": "openai-compatible", "url": "http://h:8000"}, "h/my/thing"),
    ],
)  # fmt: skip
def test_a_prefix_is_a_provider(params: str, entry: dict[str, Any], place: str) -> None:
    found, where, _ = one(params)
    assert (found, where) == (entry, place)


@pytest.mark.parametrize("name", ["anthropic/*", "*"])
def test_a_wildcard_stays_one(name: str) -> None:
    _, place, _ = one("{model: 'anthropic/*'}", name)
    assert place == ("anthropic/*" if "/" in name else "anthropic")


def test_what_a_model_sets_in_requests_it_sets_here() -> None:
    _, place, notes = one("{model: openai/a, temperature: 0.5, max_tokens: 9, rpm: 3, tags: [x]}")
    assert place == {"use": "openai/a", "options": {"temperature": 0.5}, "override": {"llm_options": {"max_tokens": 9}}}
    assert [note for note in notes if "litellm_params.rpm: limits are Envoy's" in note]
    assert not [note for note in notes if "tags" in note]


def test_a_secret_that_is_written_is_replaced_and_said() -> None:
    found, _, notes = one("{model: anthropic/a, api_key: sk-live-9}")
    (note,) = notes
    assert "key" not in found
    assert note.startswith("model_list[0].litellm_params.api_key: the secret written here is replaced by ${ANTHROPIC_")


def test_two_keys_of_one_provider_are_two_entries() -> None:
    models = [f"{{model_name: m{n}, litellm_params: {{model: openai/a, api_key: sk-live-{n}}}}}" for n in (1, 2, 1)]
    found = file_of(imported(f"model_list: [{', '.join(models)}]"))
    assert found["providers"] == {"openai": {}, "openai-2": {"provider": "openai", "key": "${OPENAI_API_KEY_2}"}}


def test_fallbacks_aliases_and_what_has_no_equivalent() -> None:
    made = imported((CASES / "litellm-fallbacks.yaml").read_bytes())
    found = file_of(made)
    assert found["models"]["gpt-4o"] == [
        "azure-openai/my-gpt-4o-eu", "openai", "anthropic/claude-sonnet-4-5", "deepseek/deepseek-chat",
    ]  # fmt: skip
    assert found["models"]["sonnet"]["use"][:2] == ["anthropic/claude-sonnet-4-5", "azure-openai/my-gpt-4o-eu"]
    assert (found["models"]["best"], found["models"]["hidden"]) == ("sonnet", "gpt-4o")
    assert found["models"]["*"] == "openai" and found["models"]["claude-*"] == "anthropic"
    said = "\n".join(made.notes)
    for part in ("model_group_alias.gone", "fallbacks[2].nobody", "master_key: clients are authenticated by a filter",
                 "callbacks: Envoy's access log", "num_retries: the route's retry", "environment_variables: has no",
                 "context_window_fallbacks: an answer of 400", "'gpt-4o' is asked in turn"):  # fmt: skip
        assert part in said, part
    assert "sk-live" not in made.yaml + said
    assert made.yaml.startswith("# Made by `extproc import litellm`.\n")


def test_what_cannot_be_served_is_left_out_with_the_reason() -> None:
    made = imported((CASES / "litellm-providers.yaml").read_bytes())
    models = file_of(made)["models"]
    assert not {"odd", "azure-by-env"} & set(models) and len(models) == 13
    said = "\n".join(made.notes)
    assert "provider 'sagemaker' is not known here" in said and "AZURE_API_BASE, and is needed here: write it" in said
    assert "audio_transcription is not served here" in said


def test_default_fallbacks_are_for_every_other_name() -> None:
    models = "[{model_name: a, litellm_params: {model: openai/x}}, {model_name: b, litellm_params: {model: gemini/y}}]"
    found = file_of(imported(f"model_list: {models}\nlitellm_settings: {{default_fallbacks: [b, c]}}"))
    assert found["models"] == {"a": ["openai/x", "gemini/y"], "b": "gemini/y"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("model_list: []", "model_list names no model"),
        ("model_list: [{model_name: a}]", r"model_list\[0\]: expected a model_name and litellm_params"),
        ("model_list: 7", "not as its schema has it"),
        ("[1]", "expected an object"),
        ("model_list: [{model_name: 'a*b*', litellm_params: {model: x}}]", "names no model"),
    ],
)
def test_what_is_no_such_file_is_said(text: str, word: str) -> None:
    with pytest.raises(ImportFailed, match=word):
        imported(text)


def test_on_the_command_line(run: Run, tmp_path: Path) -> None:
    file = str(CASES / "litellm-fallbacks.yaml")
    envoy = run("import", "litellm", file)
    assert envoy.status == 0 and "master_key" in envoy.err
    errors = [finding for finding in check(envoy.out.decode()) if finding.severity == "error"]
    assert not errors, list(map(str, errors))
    made = run("import", "litellm", "--to", "extproc", file)
    assert made.status == 0 and read(made.out.decode()).models
    other = run("import", "apisix", "--to", "extproc", stdin=b"{}")
    assert other.status == 2 and "leave --to out" in other.err


def test_prices_for_one_token_become_prices_for_a_million() -> None:
    costs = "input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001, cache_read_input_token_cost: 2.5e-7"
    _, place, notes = one(f"{{model: openai/gpt-5.4, {costs}}}")
    assert place == {"use": "openai/gpt-5.4", "prices": {"input": 2.5, "output": 10.0, "cached": 0.25}} and not notes
    _, _, notes = one("{model: openai/gpt-5.4, input_cost_per_token: dear}")
    assert not notes, "no number is no price"


def test_prices_of_a_name_with_several_providers_are_said() -> None:
    made = imported(
        "model_list: [{model_name: m, litellm_params: {model: openai/gpt-5.4, input_cost_per_token: 1.0e-6}},"
        " {model_name: m, litellm_params: {model: anthropic/claude-opus-4-8}}]"
    )
    assert "prices" not in str(file_of(made)["models"]) and any("input_cost_per_token" in note for note in made.notes)
