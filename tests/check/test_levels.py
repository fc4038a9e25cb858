from __future__ import annotations

import pytest

from extproc.check import check
from extproc.check.levels import CLUSTER, ENDPOINT, ROUTE, combinations, level, place, problem, used_levels
from extproc.check.topology import configurations
from extproc.check.tree import documents, parse
from tests.check.judged import TEXT, edited, line_of


def test_an_error_in_a_routes_text_has_the_line_of_its_own_key() -> None:
    text = edited("options: {model: gpt-5}", "options: {model: gpt-5}\n                  colour: blue")
    (found,) = check(text)
    assert found.line == line_of(text, "colour: blue")
    assert found.code == "route" and "unknown key 'colour'" in found.problem
    assert found.path.endswith("endpoints[0].lb_endpoints[0].metadata.filter_metadata.extproc.route")


@pytest.mark.parametrize(
    ("secret", "codes"),
    [
        ("${NOT_SET_HERE}", set()),
        ("Bearer ${file:/not/there}", set()),
        ("sk-123", {"secret-inline"}),
        ("${not closed", {"named-route"}),
        ("${file:relative}", set()),
    ],
)
def test_references_are_not_resolved(secret: str, codes: set[str]) -> None:
    text = edited('x-api-key: "${ANTHROPIC_API_KEY}"', f'x-api-key: "{secret}"')
    assert {finding.code for finding in check(text)} == codes


@pytest.mark.parametrize("url", ["${URL}", "https://${HOST}/v1/x", "https://h:${PORT}/v1/x"])
def test_a_reference_may_stand_for_any_part_of_an_endpoint(url: str) -> None:
    text = edited("options: {model: gpt-5}", f'override: {{endpoint: "{url}"}}')
    assert check(text) == []


@pytest.mark.parametrize(
    ("auth", "codes"),
    [
        ("{gcp: {}}", set()),
        ("{gcp: {service_account_json: '${KEY}', max_ttl: 60}}", set()),
        ("{gcp: {service_account_json: '${file:/not/here.json}'}}", set()),
        ("{aws: {access_key_id: '${A}', secret_access_key: '${B}', region: eu-west-1}}", set()),
        ("{gcp: {max_ttl: soon}}", {"named-route"}),
        ("{aws: {colour: red}}", {"named-route"}),
    ],
)
def test_credentials_that_are_fetched_are_checked_by_their_form(auth: str, codes: set[str]) -> None:
    text = edited('auth: {header: {x-api-key: "${ANTHROPIC_API_KEY}"}}', f"auth: {auth}")
    assert {finding.code for finding in check(text)} == codes


SPACES = "metadata: {filter_metadata: "


@pytest.mark.parametrize(
    ("metadata", "text", "annotation", "struct"),
    [
        ("{extproc: {route: 'provider: openai'}}", "provider: openai", False, False),
        ("{extproc: {route: {provider: openai}}}", "", False, True),
        ("{extproc: {other: 1}}", None, False, True),
        (
            "{envoy-gateway: {resources: [{annotations: {extproc: 'provider: openai'}}]}}",
            "provider: openai",
            True,
            False,
        ),
        ("{other: {route: x}}", None, False, False),
    ],
)
def test_what_metadata_says_to_the_sidecar(metadata: str, text: str | None, annotation: bool, struct: bool) -> None:
    found = level(parse(f"{SPACES}{metadata}}}"))
    assert (found.text or None, found.annotation, found.struct) == (text or None, annotation, struct)
    assert bool(found.node) == (text is not None or struct)


def test_which_levels_meet_and_which_attributes_they_ask_for() -> None:
    (config,) = configurations(documents(TEXT))
    met = [combination for combination, _ in combinations(config) if combination]
    assert met and all(problem(combination) is None for combination in met)
    upstream = [item for item in config.filters if item.placement == "upstream"]
    assert upstream and all((ENDPOINT, False) in used_levels(config, item) for item in upstream)
    assert {kind for item in upstream for kind, _ in used_levels(config, item)} <= {ROUTE, CLUSTER, ENDPOINT}


def test_an_error_points_into_the_level_that_it_names() -> None:
    text = edited("options: {model: gpt-5}", "options: {model: gpt-5}\n                  colour: blue")
    (config,) = configurations(documents(text))
    wrong = [(c, error) for c, _ in combinations(config) if (error := problem(c)) is not None]
    assert {place(combination, str(error)).line for combination, error in wrong} == {line_of(text, "colour: blue")}
