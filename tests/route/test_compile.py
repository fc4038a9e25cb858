from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extproc.costs.prices import Price
from extproc.costs.weights import Weights
from extproc.route import Route, RouteError, compile_route
from extproc.route import compile as module
from extproc.route.compile import MAX_CACHED

from .routes import BASE, compiled, problem


@pytest.mark.parametrize(
    "source",
    [
        "{provider: openai, options: {model: gpt-4, temperature: 0.5},"
        " auth: {header: {Authorization: 'Bearer ${KEY}'}}}",
        '{"provider": "openai", "options": {"model": "gpt-4", "temperature": 0.5},'
        ' "auth": {"header": {"Authorization": "Bearer ${KEY}"}}}',
        "provider: openai\noptions:\n  model: gpt-4\n  temperature: 0.5\nauth:\n  header:\n"
        "    Authorization: Bearer ${KEY}\n",
        {
            "provider": "openai",
            "options": {"model": "gpt-4", "temperature": "0.5"},
            "auth": {"header": {"Authorization": "Bearer ${KEY}"}},
        },
    ],
)
def test_text_and_struct_say_the_same(source: Any) -> None:
    route = compiled(source)
    assert (route.provider.name, route.model, route.options) == ("openai", "gpt-4", {"temperature": 0.5})
    assert route.credentials() == [("authorization", "Bearer sk-secret")]
    assert (route.client, route.upstream, route.losses) == (None, None, "allow")


def test_levels_are_laid_over_each_other() -> None:
    route = compiled(
        "{client: anthropic_messages, losses: report, options: {model: m, temperature: 1, a: {x: 1, y: 2}}}",
        "{provider: openai, auth: {header: {Authorization: '${KEY}'}}, options: {a: {y: 3}}}",
        "{options: {temperature: null}, losses: reject}",
    )
    assert (route.client, route.losses, route.model) == ("anthropic_messages", "reject", "m")
    assert route.options == {"temperature": None, "a": {"x": 1, "y": 3}}
    assert route.credentials() == [("authorization", "sk-secret")]


@pytest.mark.rows("D5")
def test_auth_is_never_merged_between_levels() -> None:
    below = "{provider: openai, auth: {header: {Authorization: '${KEY}'}, query: {k: v}}}"
    assert compiled(below, "auth: {header: {api-key: '${OTHER}'}}").credentials() == [("api-key", "sk-other")]
    assert compiled(below, "auth: {header: {api-key: '${OTHER}'}}").auth_query == ()
    assert compiled(below, "auth: none").credentials() == []
    assert compiled(below, "{provider: openai-compatible}").credentials() == []
    assert problem(below, None, "provider: openai").startswith("endpoint: auth: provider openai needs one")


def test_another_provider_drops_what_was_said_about_the_one_below() -> None:
    below = (
        "{provider: openai, auth: none, upstream: openai_responses, options: {model: gpt, temperature: 1},"
        " quirks: {image: false}, override: {endpoint: 'https://h/p', llm_options: {max_tokens: 1}}, losses: report}"
    )
    route = compiled(below, None, "{provider: anthropic, auth: none}")
    assert (route.model, route.options, route.upstream, route.quirks) == (None, {"temperature": 1}, None, {})
    assert (route.endpoint, route.max_tokens, route.losses) == (None, None, "report")
    same = compiled(below, None, "{provider: openai, auth: none}")
    assert (same.model, same.upstream, same.max_tokens) == ("gpt", "openai_responses", 1)


def test_a_provider_over_a_route_that_names_none_is_not_another_one() -> None:
    assert compiled("options: {model: gpt-4}", "{provider: openai, auth: none}").model == "gpt-4"


@pytest.fixture
def fresh() -> Any:
    module._cache.clear()
    yield
    module._cache.clear()


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    real: Callable[..., Route] = module._compile

    def compile_counted(levels: Any, environ: Any, permitted: Any) -> Route:
        calls.append(levels)
        return real(levels, environ, permitted)

    monkeypatch.setattr(module, "_compile", compile_counted)
    return calls


@pytest.mark.replaces_code
@pytest.mark.usefixtures("fresh")
def test_compiled_once_per_distinct_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    text = "{provider: openai, auth: none}"
    assert compile_route([text]) is compile_route([text])
    assert compile_route([dict(BASE)]) is compile_route([dict(BASE)])
    assert compile_route([None, text]) is not compile_route([text])
    assert len(calls) == 3


@pytest.mark.replaces_code
@pytest.mark.usefixtures("fresh")
def test_an_error_is_kept_too_but_not_its_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    caught = []
    for _ in range(3):
        with pytest.raises(RouteError) as error:
            compile_route(["provider: nope"])
        caught.append(error.value)
    assert len(calls) == 1 and len({str(error) for error in caught}) == 1
    assert len({id(error) for error in caught}) == 3


@pytest.mark.usefixtures("fresh")
def test_an_error_about_a_file_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    text = f"{{provider: openai, auth: {{header: {{Authorization: 'Bearer ${{file:{path}}}'}}}}}}"
    with pytest.raises(RouteError, match=r"^route: auth.header.Authorization: file '.*/key': No such file"):
        compile_route([text])
    path.write_text("k1\n")
    route = compile_route([text])
    assert route.credentials() == [("authorization", "Bearer k1")]
    path.write_text("k2 is longer\n")
    assert compile_route([text]) is route and route.credentials() == [("authorization", "Bearer k2 is longer")]


@pytest.mark.usefixtures("fresh")
def test_the_cache_is_bounded() -> None:
    for i in range(MAX_CACHED + 10):
        module._cache.put((str(i),), "x")
    assert len(module._cache) == MAX_CACHED
    assert module._cache.get(("0",)) is None and module._cache.get((str(MAX_CACHED),)) == "x"


@pytest.mark.usefixtures("fresh")
def test_a_thousand_mixed_routes_in_one_process_do_not_grow_it() -> None:
    texts = [f"{{provider: openai, auth: none, options: {{model: m{i}}}}}" for i in range(100)]
    for text in texts:
        compile_route([text])
    gc.collect()
    before = len(gc.get_objects())
    for i in range(1000):
        assert compile_route([texts[i % 100]]).model == f"m{i % 100}"
    gc.collect()
    assert len(gc.get_objects()) - before < 200


@pytest.mark.parametrize(
    ("levels", "problem_"),
    [
        (["metadata: {namespace: mine}"], "route: metadata.namespace: has no effect without metadata.costs"),
        (["logging: {redact: [user]}"], "route: logging.redact: has no effect without logging.summaries, "),
        (["override: {request_body_force_override: true}"],
         "route: override.request_body_force_override: has no effect without override.request_body"),
        (["provider_conf: {region: eu}"], "route: provider_conf.region: provider openai has no such member; it takes"),
        (["", "other_paths: refuse"], "cluster: other_paths: has no effect here; it belongs into the route's"),
        (["", None, "other_paths: pass"], "endpoint: other_paths: has no effect here"),
    ],
    ids=str,
)  # fmt: skip
def test_what_would_have_no_effect_is_refused(levels: list[str | None], problem_: str) -> None:
    first, *others = levels
    assert problem(f"provider: openai\nauth: none\n{first}", *others).startswith(problem_)


@pytest.mark.parametrize(
    ("aws", "problem_"),
    [
        ("session_token: t", "session_token: has no effect without access_key_id"),
        ("access_key_id: a, secret_access_key: b, profile: p", "profile: has no effect beside access_key_id"),
        ("access_key_id: a, secret_access_key: b, credentials_file: /f", "credentials_file: has no effect beside"),
    ],
)
def test_keys_in_vain(aws: str, problem_: str) -> None:
    text = f"provider: bedrock\nauth: {{aws: {{{aws}, region: eu-west-1}}}}\nprovider_conf: {{region: eu-west-1}}"
    assert problem(text).startswith(f"route: auth.aws.{problem_}")


def test_what_one_level_says_may_have_its_effect_with_another() -> None:
    route = compiled(
        "{provider: openai, auth: none, metadata: {namespace: mine}, logging: {summaries: true, redact: [user]}}",
        None,
        "{metadata: {costs: {spent: total_tokens}}, logging: {summaries: false}}",
    )
    assert (route.costs_namespace, [*route.costs]) == ("mine", ["spent"]) and route.logging is None


def test_prices_of_a_routes_own_leave_with_their_provider() -> None:
    ours = "{provider: openai, auth: none, prices: {input: 1, output: 2}}"
    own, other = compiled(ours), compiled(ours, None, "{provider: anthropic, auth: none}")
    assert own.prices == Price(Weights(1.0, 2.0)) and other.prices == "table"
    assert compiled(ours, None, "{prices: {output: 3}}").prices == Price(Weights(1.0, 3.0))
    assert compiled("{provider: openai, auth: none}").prices is None


@pytest.mark.parametrize(
    ("said", "problem_"),
    [
        ("metadata: {costs: {x: cost_usd * 1e6}}", "metadata.costs.x: cost_usd is not known without `prices`"),
        ("metadata: {costs: {x: [1]}}", "metadata.costs.x: expected the name of a count, an expression, or a mapping"),
        ("metadata: {costs: {x: {inputs: 1}}}", "metadata.costs.x: unknown weight 'inputs'; choose: input, output"),
        ("prices: tabel", "prices: expected table, or a mapping with input, output, cached, cache_write, reasoning"),
        ("prices: {inptu: 1}", "prices: Object contains unknown field `inptu`; known members: input, output"),
        ("prices: {at: {openai: {input: 1}}}", "prices: at, source and seen are for a file"),
    ],
)
def test_wrong_costs_and_prices_are_named(said: str, problem_: str) -> None:
    assert problem(f"provider: openai\nauth: none\n{said}").startswith(f"route: {problem_}")


def test_a_providers_members_leave_with_it() -> None:
    route = compiled(
        "{provider: vertex-ai, auth: none, provider_conf: {project_id: p, region: r}}",
        None,
        "{provider: openai, auth: none}",
    )
    assert route.provider_conf == {}
