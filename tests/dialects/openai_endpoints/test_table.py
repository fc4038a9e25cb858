"""Which paths are endpoints, and what they are called."""

from __future__ import annotations

import pytest

from extproc import dialects, providers
from extproc.dialects.openai_endpoints.table import COMPACT, ENDPOINTS, WITH_MODEL, endpoint, is_rooted, split


def test_the_names_are_those_that_a_route_may_say() -> None:
    others = {"skills", "caches", "operations", COMPACT}
    assert {*ENDPOINTS, *others} == {*providers.STATELESS, *providers.STATEFUL} and {*ENDPOINTS, COMPACT} >= WITH_MODEL


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/images/generations", "images"), ("/openai/v1/images/edits?x=1", "images"), ("/v1/audio/speech", "audio"),
        ("/v1/files", "files"), ("/v1/files/file-1/content", "files"), ("/v1/batches/b/cancel", "batches"),
        ("/v1/completions", "completions"), ("/v2/rerank", "rerank"), ("/v1/rerank", "rerank"),
        ("/v1/fine_tuning/jobs", "fine_tuning"), ("/v1/realtime?model=m", "realtime"),
        ("/v1/responses/compact", "compact"), ("/v1/responses/compact/x", "responses"), ("/tokenize", "tokenize"),
        ("/my/detokenize?x=1", "tokenize"), ("/v1/score", "score"), ("/pooling/", "pooling"), ("/classify", "classify"),
        ("/tokenize/x", ""), ("/v1/responses/resp_1", "responses"), ("/v1/chat/completions/c1/messages", "chat"),
        ("/v1/chat/completions", ""), ("/v1/responses", ""), ("/v1/responses/input_tokens", ""), ("/v1/models", ""),
        ("/v2/images/generations", ""), ("/images/generations", ""), ("/v1/filesystem", ""), ("/v1", ""), ("/", ""),
        ("/v1/files/../organization", ""), ("/v1/organization/projects", ""),
    ],
)  # fmt: skip
def test_which_paths_they_are(path: str, name: str) -> None:
    assert endpoint(path) == name
    assert (dialects.detect(path, b"") == "openai_endpoints") is bool(name)


def test_what_stands_before_and_behind_the_version() -> None:
    assert split("/a/b/v1/files/f/content?x=1") == ("/a/b", "files", "files/f/content")
    assert split("/v1/nothing") == ("", "", "")
    assert split("/a/detokenize?x=1") == ("/a", "tokenize", "detokenize")
    assert is_rooted("/a/detokenize?x=1") and not is_rooted("/v1/score")
