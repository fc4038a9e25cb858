"""Every block that a page shows is run or validated: what nothing here knows how to check is a failure.

By its language: ``sh`` (each command has a check in ``COMMANDS``), ``yaml`` (told by its members, ``SHAPES``),
``json``, ``toml``, ``python`` and ``js`` (by the test that runs the page's), ``text`` for what nobody runs. What is
asked of a gateway is asked by tests/envoy/test_shown.py and tests/examples.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from extproc.check import check
from extproc.cli import main, parsed
from extproc.gateway import read
from extproc.reference import config as reference
from extproc.route import compile_route
from extproc.route.catalogue import read_catalogue
from extproc.route.model import Level
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.record import record
from tests.support import placements

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*.md", "deploy/**/*.md", "protos/*.md")
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        page = path.read_text("utf-8")
        for found in re.finditer(r"^( *)```(.*?)\n(.*?)^\1```", page, re.MULTILINE | re.DOTALL):
            line = page[: found.start()].count("\n") + 1
            yield Block(str(path.relative_to(ROOT)), line, found[2], textwrap.dedent(found[3]))


ALL = list(blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [block for block in ALL if block.language in languages], ids=str)


def test_each_block_names_a_language_that_is_checked() -> None:
    known = {"sh", "yaml", "json", "toml", "python", "js", "text"}
    assert not [f"{block}: {block.language!r}" for block in ALL if block.language not in known]
    assert len(ALL) > 150


@of("text")
def test_text_is_nothing_to_run(block: Block) -> None:
    assert not re.search(r"^(?:\$ |extproc |curl |docker |make |export )", block.text, re.MULTILINE), "make it sh"


# ---- lines of a shell


def words(text: str) -> Iterator[list[str]]:
    """The commands of *text*, each as its words; without comments, redirections and the variables before them."""
    command: list[str] = []
    for token in _tokens(text):
        if token in (";", "\n", "&", "&&", "|", "||", "(", ")", "{", "}"):
            yield from [command] if command else []
            command = []
        elif command or not re.match(r"[A-Za-z_]\w*=", token):
            command.append(token)
    yield from [command] if command else []


def _tokens(text: str) -> Iterator[str]:
    """Words and operators of *text*, quotations taken off."""
    pattern = re.compile(
        r"""(?P<skip>\\\n|[ \t]+|(?<![^\s])\#[^\n]*|\d?>+\s*&?[^\s;|&]+|<\s*[^\s;|&]+)"""
        r"""|(?P<operator>&&|\|\||[;\n&|(){}])|(?P<word>(?:"(?:\\.|[^"\\])*"|'[^']*'|\$\([^)]*\)|\$\{[^}]*\}|\{\}|\\.|[^\s;&|()\\"'])+)""",
        re.DOTALL,
    )
    at = 0
    while at < len(text):
        found = pattern.match(text, at)
        assert found is not None and found.end() > at, f"cannot be read: {text[at : at + 40]!r}"
        at = found.end()
        if found["operator"]:
            yield found["operator"]
        elif found["word"]:
            yield re.sub(r"'([^']*)'|\"((?:\\.|[^\"\\])*)\"", lambda part: part[1] or part[2] or "", found["word"])


def _nothing(command: list[str]) -> None:
    """The shell's own, or a program of others that is started beside ours."""


def _ours(command: list[str]) -> None:
    assert callable(parsed(command[1:]).run)


def _eval(command: list[str]) -> None:
    (inner,) = re.findall(r"\$\((extproc .*?)\)", " ".join(command))
    _ours(inner.split())


def _curl(command: list[str]) -> None:
    urls = [word for word in command[1:] if re.match(r"(?:https?://|localhost|127\.|\$)", word)]
    assert urls, "it names no address"
    for name, value in itertools.pairwise(command):
        if name in ("-d", "--data") and not value.startswith("@"):
            json.loads(value)


def _pip(command: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extras in re.findall(r"(?:^\.|extproc-llm)\[(.*?)\]", " ".join(command)):
        assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras


def _python(command: list[str]) -> None:
    if command[1] == "-c":
        ast.parse(command[2])
    elif command[1] == "-m":
        assert command[2] in ("venv", "pip", "extproc", "http.server") or (ROOT / command[2].replace(".", "/")).exists()
    else:
        assert (ROOT / command[1]).is_file()


def _make(command: list[str]) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {word for word in command[1:] if "=" not in word} <= targets


def _docker(command: list[str]) -> None:
    known = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    given = [command[i + 1].partition("=")[0] for i, word in enumerate(command) if word == "--build-arg"]
    assert set(given) <= known and (command[1] != "compose" or (ROOT / "docker-compose.yaml").is_file())


def _folder(command: list[str]) -> None:
    """A path of the repository that is changed to, or applied."""
    for word in command[1:]:
        if word.startswith(("deploy/", "examples/")):
            assert (ROOT / word).exists(), word


def _envoy(command: list[str]) -> None:
    (file,) = [command[i + 1] for i, word in enumerate(command) if word in ("-c", "--config-path")]
    assert file == "envoy.yaml" or (ROOT / file).is_file(), file


def _gh(command: list[str]) -> None:
    """What is verified is what the release attests."""
    assert command[1:3] == ["attestation", "verify"]
    assert "actions/attest-build-provenance@" in (ROOT / ".github" / "workflows" / "release.yaml").read_text("utf-8")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "extproc": _ours, "eval": _eval, "curl": _curl, "pip": _pip, "python": _python, "python3": _python, "make": _make,
    "docker": _docker, "kubectl": _folder, "kustomize": _folder, "helm": _folder, "cd": _folder, "envoy": _envoy,
    "gh": _gh,
    **dict.fromkeys(
        # The clients are run by tests/real, the lines that point them here by tests/launch.
        [".", "export", "unset", "echo", "printf", "install", "mkdir", "cp", "kill", "command", "jq", "claude", "codex",
         "cline", "npm", "open-webui", "vllm", "go", "redis-server", "$(go env GOPATH)/bin/service_cmd"],
        _nothing,
    ),
}  # fmt: skip


@of("sh")
def test_lines_of_a_shell(block: Block) -> None:
    bash = shutil.which("bash")
    if bash is not None:
        read = subprocess.run([bash, "-n"], input=block.text, text=True, capture_output=True, check=False)
        assert read.returncode == 0, read.stderr
    for command in words(block.text):
        assert command[0] in COMMANDS, f"{block}: no check for `{' '.join(command)[:60]}`"
        COMMANDS[command[0]](command)


PRINT = ("dialects", "models", "settings", "version", "completion")
"""What asks nobody, and changes nothing."""


def test_what_only_prints_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {tuple(command) for block in ALL if block.language == "sh" for command in words(block.text)}
    ran = [command for command in shown if command[0] == "extproc" and command[1] in PRINT]
    assert len(ran) > 4
    for command in ran:
        assert main(list(command[1:])) == 0 and capsys.readouterr().out, command


# ---- configuration

KEYS = dict.fromkeys(
    ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "k"
)
ANNOTATION = "gateway.envoyproxy.io/extproc"


def _compiled(text: str) -> None:
    """A route's text, or a part of one: what it must have besides is laid around it."""
    value = {"provider": "openai"} | yaml.safe_load(re.sub(r"\$\{file:[^}]*\}", "${OPENAI_API_KEY}", text))
    compile_route([yaml.safe_dump({"auth": "none"} | value)], environ=KEYS)


def _members(value: dict[str, Any]) -> None:
    _compiled(yaml.safe_dump(value))


def _metadata(value: dict[str, Any]) -> None:
    ours = value["metadata"]["filter_metadata"]["extproc"]
    assert set(ours) <= {"models", "routes", "route"}
    for text in [*ours.get("routes", {}).values(), *([ours["route"]] if "route" in ours else [])]:
        _compiled(text)
    if "models" in ours:
        catalogue = read_catalogue(ours["models"])
        assert set(catalogue.routes) <= set(ours.get("routes", {}))


def _annotation(value: dict[str, Any]) -> None:
    _compiled(value.get("metadata", {}).get("annotations", value)[ANNOTATION])


def _file(value: dict[str, Any]) -> None:
    read(yaml.safe_dump(value))


def _in_envoy(place: Callable[[dict[str, Any], Any], None]) -> Callable[[Any], None]:
    """Laid into deploy/envoy.yaml: Envoy's own messages have it so, and no rule of check is broken."""

    def laid(value: Any) -> None:
        made = reference.reference()
        place(made, value)
        found = [str(one) for one in check(yaml.safe_dump(reference.copy_all(made))) if one.severity == "error"]
        assert not found, found

    return laid


def _sidecar(made: dict[str, Any], value: Any) -> None:
    placements.clusters(made)["extproc"].update(value)


def _filters(made: dict[str, Any], value: Any) -> None:
    provider = placements.http_options(placements.clusters(made)["any_provider"])
    ours = provider["http_filters"][0]
    provider["http_filters"] = [ours if "typed_config" not in each and each["name"] == ours["name"] else each
                                for each in value["http_filters"]]  # fmt: skip
    provider["http_filters"][-1] = {
        "name": "envoy.filters.http.upstream_codec",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"},
    }


def _routes(made: dict[str, Any], value: Any) -> None:
    placements.add_cluster(made, "web", "openai", 80)
    keyless = {"name": "x-extproc-route", "present_match": True, "invert_match": True}
    for each in value:
        each["match"]["headers"] = [keyless]
    placements.routes(made)[:0] = value


def _host(made: dict[str, Any], value: Any) -> None:
    (resource,) = value["resources"]
    assert resource.pop("@type") == "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    placements.manager(made)["route_config"] = resource


CHART = json.loads((ROOT / "deploy" / "helm" / "extproc" / "values.schema.json").read_text("utf-8"))


def _chart(value: Any) -> None:
    """Values of the Helm chart; tests/real/test_helm.py renders such."""
    jsonschema.validate(value, CHART)
    for provider in value.get("providers", {}).values():
        _compiled(yaml.safe_dump(provider["route"]))


SHAPES: list[tuple[set[str], Callable[[Any], None]]] = [
    ({"metadata", "routes"}, _metadata),
    ({"route"}, lambda value: _compiled(value["route"])),
    ({"providers", "models", "policies", "losses", "listen"}, _file),
    ({"transport_socket"}, _in_envoy(_sidecar)),
    ({"load_assignment"}, _in_envoy(_sidecar)),
    ({"http_filters"}, _in_envoy(_filters)),
    ({"resources"}, _in_envoy(_host)),
    ({ANNOTATION}, _annotation),
    (set(CHART["properties"]), _chart),
    # Envoy runs with these: tests/envoy/test_changed_routes.py.
    ({"rds"}, _nothing),
    ({"node", "dynamic_resources"}, _nothing),
]
"""By the members at the top; the first that has all of a block's."""
ROUTE = set(Level.model_fields)


def validator(value: Any) -> Callable[[Any], None]:
    if isinstance(value, list):
        return _in_envoy(_routes)
    keys = set(value)
    if isinstance(value.get("endpoints"), dict):
        return _nothing  # LibreChat's
    if keys == {"metadata"} and "annotations" in value["metadata"]:
        return _annotation
    if keys == {"metadata"} and "filter_metadata" not in value["metadata"]:
        return _members
    if keys <= ROUTE and "providers" not in keys:
        return _metadata if "filter_metadata" in value.get("metadata", {}) else _members
    return next((how for known, how in SHAPES if keys <= known), _unknown)


def _unknown(value: Any) -> None:
    raise AssertionError(f"nobody knows how to check this: a row of SHAPES for {sorted(value)}")


@of("yaml")
def test_configuration(block: Block) -> None:
    value = yaml.safe_load(block.text)
    validator(value)(value)


@of("toml")
def test_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


# ---- the rest

RUN_BY = {
    "README.md": "tests/test_docs.py",
    "docs/library.md": "tests/test_docs.py",
    "docs/containers.md": "tests/envoy/test_shown.py",
    "docs/clients.md": "tests/real/test_libraries.py",
}
"""Which test runs the Python and JavaScript of a page."""
JSON = {
    "docs/troubleshooting.md": "tests/envoy/test_troubleshooting.py",
    "examples/logging/README.md": "tests/examples/test_examples.py",
}


@of("python", "js")
def test_programs_are_run(block: Block) -> None:
    test = ROOT / RUN_BY[block.page]
    assert Path(block.page).name in test.read_text("utf-8")


@of("json")
def test_json_is_what_the_program_says(block: Block) -> None:
    value = json.loads(block.text)
    if block.page == "docs/observability.md":
        made = record(Began("translator", 0.0), Outcome("translator", Ending.COMPLETE, summary=True))
        assert set(made) <= set(value) and value["llm_summary"].keys() == made["llm_summary"].keys()
        assert set(value) - set(made) == {"llm_request", "llm_response_text", "payloads"}
    else:
        assert Path(block.page).name in (ROOT / JSON[block.page]).read_text("utf-8")
