"""What may stand in extproc.yaml, and what is said of what may not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from extproc.gateway import FileError, lay_out, read, schema

GOOD = """
providers:
  openai:
  anthropic: {key: "${MY_KEY}"}
  vllm: {provider: openai-compatible, url: http://127.0.0.1:8000/v1, models: [qwen3]}
  azure: {provider: azure-openai, url: https://r.openai.azure.com, provider_conf: {api_version: "2024-10-21"}}
  plain: {provider: openai-compatible, url: http://10.0.0.7:8000, auth: none}
models:
  gpt-*: openai
  fast: openai/gpt-5.4-mini
  best: [openai/gpt-5.4, anthropic/claude-opus-4-8]
  terse: {use: vllm/qwen3, options: {temperature: 0}, policies: [{tool_filter: {deny: ["run_*"]}}], created: 2026-01-01}
  "*": vllm
losses: report
policies: [{redact: {}}]
listen: 127.0.0.1:8080
"""


def test_a_whole_file_is_read_and_fits_its_schema() -> None:
    found = read(GOOD)
    assert found.listen == "127.0.0.1:8080" and found.models["best"].use == [
        "openai/gpt-5.4",
        "anthropic/claude-opus-4-8",
    ]
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    text = GOOD.replace("created: 2026-01-01", 'created: "2026-01-01"')
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


WRONG: list[tuple[str, str, bool]] = [
    ("[1]", "expected a mapping", True),
    ("providers: {openai: {}}\nproviders: {}", "twice", False),
    ("providers: [", "not YAML", False),
    ("provider: {openai: {}}", "provider: ", True),
    ("providors: {}", "unknown key 'providors'; did you mean 'providers'?", True),
    ("providers: {openai: {urll: x}}", "unknown key 'providers.openai.urll'; did you mean 'url'?", True),
    (
        "providers: {opnai: }",
        "providers.opnai: say which one it is, as provider: openai-compatible; did",
        False,
    ),
    ("providers: {openai: {url: 'ftp://x'}}", "providers.openai.url: expected https://host", False),
    ("providers: {openai: {key: sk-secret}}", "providers.openai.key: expected a reference, ${NAME}", False),
    ("providers: {openai: {key: '${A}', auth: none}}", "key and auth say the same thing", False),
    ("providers: {'a b': {provider: openai}}", "expected a name of letters", False),
    ("models: {a: {name: x}}", "models.a.use: is missing: expected PROVIDER/MODEL", True),
    ("models: {a: []}", "models.a.use: ", True),
    ("models: {'a*b*': openai}", "in which one `*` may stand", False),
    ("models: {a: {use: openai, created: soon}}", "expected a day such as", False),
    ("models: {a: {use: openai, timeout: 5}}", "unknown key 'models.a.timeout'", True),
    ("listen: here", "listen: expected an address and a port", False),
    ("losses: shout", "losses: ", True),
]


@pytest.mark.parametrize(("text", "word", "by_schema"), WRONG)
def test_a_mistake_is_one_line_with_its_place(text: str, word: str, by_schema: bool) -> None:
    with pytest.raises(FileError) as caught:
        read(text, "here.yaml")
    said = str(caught.value)
    assert said.startswith("here.yaml: ") and "\n" not in said and word in said, said
    assert "sk-secret" not in said
    if by_schema:
        errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(yaml.safe_load(text)))
        assert errors, "an editor sees it too"


def test_the_published_schema_is_this_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "extproc.schema.json"
    assert json.loads(page.read_text("utf-8")) == schema(), "python docs/generate.py writes it"


def names_of(value: Any) -> set[str]:
    return set(value["properties"])


def test_the_schema_says_what_each_member_means_and_no_default_that_is_none() -> None:
    made = schema()
    for part in (made, *made["$defs"].values()):
        for name, member in part["properties"].items():
            assert "](" not in member["description"], name
            assert member.get("default") not in ("", 1, [], {}), f"{name}: that only says that it was left out"
    defaults = {name: each["default"] for name, each in made["properties"].items() if "default" in each}
    assert read(json.dumps(defaults)).model_dump() == read("").model_dump()


def test_the_schema_knows_what_the_program_knows() -> None:
    made = schema()
    assert names_of(made) >= {"providers", "models", "listen", "policies", "losses"}
    assert names_of(made["$defs"]["NamedProvider"]) >= {"url", "key", "provider", "provider_conf", "auth", "models"}
    assert names_of(made["$defs"]["NamedModel"]) >= {"use", "options", "policies"}


def test_what_its_page_shows_can_be_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "extproc-yaml.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        assert lay_out(read(block)).models
        assert list(jsonschema.Draft202012Validator(schema()).iter_errors(yaml.safe_load(block))) == []
