from __future__ import annotations

from pathlib import Path

import pytest

from extproc.credentials.permitted import EVERYTHING, NOTHING, Permitted, permitted
from extproc.route import RouteError, compile_route

GUESS = permitted("")
LISTED = permitted(" OPENAI_API_KEY , /run/keys/* ,TEAM_*")


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "AZURE_ANTHROPIC_API_KEY", "KEY", "GCP_SERVICE_ACCOUNT", "AWS_BEARER_TOKEN_BEDROCK",
     "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GOOGLE_PROJECT_ID", "/run/keys/openai",
     "/run/secrets/openai", "/etc/llm/api_key", "/home/x/.aws/credentials", "/etc/llm/service_account.json"],
)  # fmt: skip
def test_what_looks_like_a_key_may_be_named_where_nobody_says_which(name: str) -> None:
    assert name in GUESS and name in EVERYTHING and name not in NOTHING


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD", "DATABASE_URL", "HOME", "KUBERNETES_SERVICE_HOST", "SESSION_SECRET", "/etc/passwd",
     "/proc/self/environ",
     "/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/secrets/kubernetes.io/serviceaccount/token",
     "/run/secrets/../../etc/shadow", "/run/keys/./x", "//run/keys/x", "/run/keys/../secrets/token", ""],
)  # fmt: skip
def test_what_does_not_may_not(name: str) -> None:
    assert name not in GUESS and name not in LISTED


def test_a_list_is_the_whole_of_it() -> None:
    for name in ("OPENAI_API_KEY", "/run/keys/any", "TEAM_A"):
        assert name in LISTED
    for name in ("ANTHROPIC_API_KEY", "/run/keys/a/b", "/run/keys", "/run/secrets/openai", "XTEAM_A", "openai_api_key"):
        assert name not in LISTED


AUTHS = (
    "{header: {x-a: '${DB_PASSWORD}'}}",
    "{header: {x-a: 'a ${file:/etc/hostname}'}}",
    "{query: {k: '${DB_PASSWORD}'}}",
    "{gcp: {service_account_json: '${DB_PASSWORD}'}}",
    "{aws: {access_key_id: '${DB_PASSWORD}', secret_access_key: x, region: r}}",
    "{aws: {credentials_file: /etc/passwd, region: r}}",
)


@pytest.mark.parametrize("who", [GUESS, LISTED, NOTHING])
@pytest.mark.parametrize("auth", AUTHS)
def test_no_place_in_a_route_reads_what_it_may_not(auth: str, who: Permitted) -> None:
    text = f"{{provider: bedrock, auth: {auth}}}"
    with pytest.raises(RouteError, match=r"may not be named by a route: see --secrets") as raised:
        compile_route([text], environ={"DB_PASSWORD": "db-pass"}, permitted=who)
    assert "db-pass" not in str(raised.value)


@pytest.mark.parametrize(
    "more", ["override: {endpoint: 'https://x.example/${DB_PASSWORD}'}", "provider_conf: {region: '${DB_PASSWORD}'}"]
)
def test_nor_does_any_other_text(more: str) -> None:
    with pytest.raises(RouteError, match="may not be named"):
        compile_route([f"{{provider: openai, auth: none, {more}}}"], environ={"DB_PASSWORD": "x"}, permitted=GUESS)


def test_the_keys_of_the_environment_are_named_by_saying_nothing() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "r"}
    text = "{provider: bedrock, auth: {aws: {}}}"
    assert compile_route([text], environ=environ, permitted=GUESS).aws is not None
    with pytest.raises(RouteError, match="AWS_ACCESS_KEY_ID may not be named"):
        compile_route([text], environ=environ, permitted=LISTED)


def test_what_one_may_name_is_not_kept_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "db-pass")
    text = "{provider: openai, auth: {header: {x-a: '${DB_PASSWORD}'}}}"
    assert compile_route([text]).credentials() == [("x-a", "db-pass")]
    with pytest.raises(RouteError, match="may not be named"):
        compile_route([text], permitted=GUESS)
