"""What else there is of the Gemini API passes: which paths, where to, with which models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation, dialects
from extproc.dialects.base import ClientCall
from extproc.dialects.gemini.endpoints import GeminiEndpoints

DIALECT = GeminiEndpoints()
KEY = {"header": {"x-goog-api-key": "k"}}
ROUTE: dict[str, Any] = {"provider": "gemini", "auth": KEY, "endpoints": "all"}
NAMED: dict[str, Any] = {**ROUTE, "options": {"model": "gemini-2.5-pro"}}
THEIRS = [("x-goog-api-key", "theirs"), ("x-goog-upload-protocol", "multipart")]


@pytest.mark.parametrize(
    ("route", "path", "sent"),
    [
        (ROUTE, "/v1beta/files/f?key=theirs&alt=media", "/v1beta/files/f?alt=media"),
        (ROUTE, "/mine/upload/v1beta/files", "/upload/v1beta/files"),
        (ROUTE, "/download/v1beta/files/f:download", "/download/v1beta/files/f:download"),
        (ROUTE, "/v1beta/cachedContents/c", "/v1beta/cachedContents/c"),
        (ROUTE, "/v1beta/models/veo-3:predictLongRunning", "/v1beta/models/veo-3:predictLongRunning"),
        (NAMED, "/v1beta/models/a:batchGenerateContent", "/v1beta/models/gemini-2.5-pro:batchGenerateContent"),
        (ROUTE, "/v1beta/models/veo-3/operations/o", "/v1beta/models/veo-3/operations/o"),
        ({**ROUTE, "override": {"endpoint": "https://h/x/v1beta/models/{model}"}}, "/v1beta/batches/b",
         "/x/v1beta/batches/b"),
    ],
)  # fmt: skip
@pytest.mark.rows("E4")
def test_where_they_go(route: dict[str, Any], path: str, sent: str) -> None:
    assert dialects.detect(path, b"") == DIALECT.name
    call = Translation(route=route).passing("POST", path, THEIRS, empty=True)
    assert call is not None and call.path == sent
    assert dict(call.all_headers()) == {"x-goog-api-key": "k", "x-goog-upload-protocol": "multipart"}


def test_a_cached_content_names_its_model() -> None:
    body = json.dumps({"model": "models/a", "ttl": "300.0s"}).encode()
    assert Translation(route=NAMED).passing("POST", "/v1beta/cachedContents", [], empty=False) is None
    t = Translation(route=NAMED)
    made = t.request(body, "POST", "/v1beta/cachedContents")
    assert isinstance(made, Call) and t.model_asked == "a"
    assert json.loads(made.body) == {"model": "models/gemini-2.5-pro", "ttl": "300.0s"}
    same = Translation(route=ROUTE).request(body, "POST", "/v1beta/cachedContents")
    assert isinstance(same, Call) and same.body == body


@pytest.mark.parametrize(
    "path", ["/v1beta/models/m:generateContent", "/v1beta/models/m", "/v2/files", "/v1beta/files/.."]
)
def test_what_is_none_of_it(path: str) -> None:
    assert DIALECT.endpoint(path) == "" and DIALECT.prefix(path) == ""
    assert dialects.detect(path, b"") != DIALECT.name


def test_files_of_two_apis_at_one_path_are_told_apart() -> None:
    assert dialects.detect("/v1/files", b"") == "openai_endpoints"
    assert dialects.detect("/v1/files", b"", headers=THEIRS) == DIALECT.name
    assert dialects.detect("/v1/cachedContents", b"") == DIALECT.name


def test_a_body_that_names_none_stays() -> None:
    for call in (ClientCall("POST", "/v1beta/cachedContents", [], b""), ClientCall("GET", "/v1beta/files", [], b"x")):
        assert DIALECT.model_of(call) == "" and DIALECT.renamed(call, "m") is call


def test_a_path_that_is_not_served_is_a_404_in_googles_shape() -> None:
    with pytest.raises(Refused) as refused:
        Translation(route={"provider": "gemini", "auth": KEY}).passing("GET", "/v1beta/files", THEIRS, empty=True)
    assert refused.value.status == 404 and json.loads(refused.value.body)["error"]["status"] == "NOT_FOUND"
