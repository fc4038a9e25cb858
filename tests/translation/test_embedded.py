"""OpenAI's embeddings clients on every upstream of vectors: the cases of ``tests/cases/embeddings.json``, any split of
the answers, and answers that are none."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Refused, Translation
from extproc.settings import Limits

Json = Any
CASES = json.loads((Path(__file__).parents[1] / "cases" / "embeddings.json").read_text("utf-8"))
PATH = "/v1/embeddings"


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(case, id=str(case["id"])) for case in CASES if case["kind"] in kinds]


def asked(case: dict[str, Json], **changed: Json) -> Translation:
    t = Translation(route={**case["route"], **changed}, now=0)
    t.request(json.dumps(case["asked"]).encode(), path=PATH)
    assert t.client == "openai_embeddings"
    return t


def raw(case: dict[str, Json]) -> bytes:
    return case["in"].encode() if isinstance(case["in"], str) else json.dumps(case["in"]).encode()


def answered(t: Translation, body: bytes, status: int, headers: dict[str, str], cuts: tuple[int, ...] = ()) -> Json:
    t.response_head(status, list(({"content-type": "application/json"} | headers).items()))
    assert t.whole
    pieces = [body[start:end] for start, end in zip((0, *cuts), (*cuts, len(body)), strict=True)]
    out = b"".join(t.response_body(piece) for piece in pieces[:-1])
    return json.loads(out + t.response_body(pieces[-1], end_of_stream=True))


@pytest.mark.rows("B5", "B17", "B18", "B19", "B40")
@pytest.mark.parametrize("case", of_kind("request"))
def test_request(case: dict[str, Json]) -> None:
    t = Translation(route=case["route"], now=0)
    body = json.dumps(case["in"]).encode()
    if "status" in case["out"]:
        with pytest.raises(Refused) as refused:
            t.request(body, path=PATH)
        assert (refused.value.status, json.loads(refused.value.body)) == (case["out"]["status"], case["out"]["body"])
        return
    call = t.request(body, path=PATH, headers=[("authorization", "Bearer the-clients"), ("x-stainless-lang", "python")])
    assert isinstance(call, Call)
    assert (call.method, call.path, json.loads(call.body)) == ("POST", case["path"], case["out"])
    assert [str(loss) for loss in t.losses] == case["report"]
    assert call.all_headers() == [("content-type", "application/json")]


@pytest.mark.rows("B5", "B40")
@pytest.mark.parametrize("case", of_kind("response"))
def test_response(case: dict[str, Json]) -> None:
    t = asked(case)
    before = len(t.losses)
    assert answered(t, raw(case), 200, case.get("headers", {})) == case["out"]
    assert t.head.status == case["status"]
    assert [str(loss) for loss in t.losses][before:] == case["report"]
    if case["status"] == 200:
        told = case["out"]["usage"]["prompt_tokens"]
        assert t.usage.input_tokens == (None if "usage:synthesized" in case["report"] else told)
        assert t.ended is not None and t.failed is None and t.model == case["asked"]["model"]
    else:
        assert t.failed is not None


@pytest.mark.parametrize("case", of_kind("error"))
def test_an_error_of_the_upstream_in_the_clients_shape(case: dict[str, Json]) -> None:
    t = asked(case)
    assert answered(t, raw(case), case["upstream_status"], case["headers"]) == case["out"]
    assert t.head.status == case["status"] and t.failed is not None
    assert {k: v for k, v in t.head.headers if k == "retry-after"} == case["out_headers"]


@pytest.mark.parametrize("case", of_kind("response", "error"))
def test_any_split_gives_the_same(case: dict[str, Json]) -> None:
    body = raw(case)
    draw = random.Random(case["id"])
    for _ in range(20):
        cuts = tuple(sorted(draw.sample(range(len(body)), min(3, len(body) - 1))))
        t = asked(case)
        assert answered(t, body, case.get("upstream_status", 200), case.get("headers", {}), cuts) == case["out"]


@pytest.mark.parametrize("case", of_kind("response"))
def test_what_is_broken_is_an_error_and_never_raises(case: dict[str, Json]) -> None:
    body = raw(case)
    draw = random.Random(case["id"])
    for _ in range(60):
        at = draw.randrange(len(body))
        broken = draw.choice([body[:at], body[:at] + bytes([draw.randrange(256)]) + body[at + 1 :], body[at:]])
        t = asked(case)
        answer = answered(t, broken, 200, case.get("headers", {}))
        assert ("error" in answer) is (t.failed is not None) is (t.head.status >= 400)
        if "data" in answer:
            assert len(answer["data"]) == (len(case["asked"]["input"]) if type(case["asked"]["input"]) is list else 1)


@pytest.mark.parametrize("case", of_kind("response"))
def test_both_forms_hold_the_same_numbers(case: dict[str, Json]) -> None:
    """base64 is what OpenAI's SDKs ask for and unpack: little-endian float32."""
    if case["status"] != 200:
        return
    answers = {}
    for form in ("float", "base64"):
        answer = answered(asked({**case, "asked": {**case["asked"], "encoding_format": form}}), raw(case), 200, {})
        answers[form] = [item["embedding"] for item in answer["data"]]
    for plain, packed in zip(answers["float"], answers["base64"], strict=True):
        data = base64.b64decode(packed)
        assert list(struct.unpack(f"<{len(data) // 4}f", data)) == pytest.approx(plain)


PREDICT = next(case for case in CASES if case["kind"] == "response")
TEXT = b'{"predictions": [{"embeddings": {"values": [%b]}}]}'


def predicted(values: bytes, form: str = "float", **limits: int) -> tuple[Translation, bytes]:
    t = Translation(route=PREDICT["route"], limits=Limits(**limits), now=0)
    t.request(json.dumps({"model": "m", "input": "a", "encoding_format": form}).encode(), path=PATH)
    t.response_head(200, [("content-type", "application/json")])
    return t, t.response_body(TEXT % values, end_of_stream=True)


def test_a_list_keeps_every_digit() -> None:
    _, answer = predicted(b"0.10000000149011612, 1E-7,-0.0, 1")
    assert b'"embedding":[0.10000000149011612, 1E-7,-0.0, 1]' in answer


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("values", [b'"a"', b"null", b"[1]", b"{}", b"NaN", b"true"])
def test_a_vector_of_anything_but_numbers_is_an_error(values: bytes, form: str) -> None:
    t, answer = predicted(values, form)
    assert t.head.status == 502 and json.loads(answer)["error"]["code"] == "upstream_error"


def test_an_answer_beyond_the_bound_is_an_error() -> None:
    t, answer = predicted(b"1" + b",1" * 600, max_response_bytes=1000)
    assert t.head.status == 502 and "larger than 1000 bytes" in json.loads(answer)["error"]["message"]


def test_a_compressed_answer_is_inflated() -> None:
    t = asked(PREDICT)
    answer = answered(t, gzip.compress(raw(PREDICT)), 200, {"content-encoding": "gzip"})
    assert answer == PREDICT["out"] and "content-encoding" not in dict(t.head.headers)
    t = asked(PREDICT)
    assert "error" in answered(t, b"no gzip", 200, {"content-encoding": "gzip"}) and t.head.status == 502


def test_losses_are_told_in_a_header_and_may_be_refused() -> None:
    body = b'{"model": "text-embedding-005", "input": "a", "user": "u"}'
    told = Translation(route={**PREDICT["route"], "losses": "report"}, now=0)
    told.request(body, path=PATH)
    answered(told, TEXT % b"1", 200, {})
    assert dict(told.head.headers)["x-llm-translation"] == "user:dropped,usage:synthesized"
    with pytest.raises(Refused, match=r"^user cannot be carried to this upstream \(dropped\)"):
        Translation(route={**PREDICT["route"], "losses": "reject"}, now=0).request(body, path=PATH)


@pytest.mark.rows("B17", "B18")
def test_the_model_and_the_size_that_the_route_sets() -> None:
    route = {**PREDICT["route"], "options": {"model": "text-multilingual-embedding-002", "dimensions": "128"}}
    call = Translation(route=route, now=0).request(b'{"input": "a", "model": "x", "dimensions": 9}', path=PATH)
    assert isinstance(call, Call) and call.path.endswith("/models/text-multilingual-embedding-002:predict")
    assert json.loads(call.body)["parameters"] == {"outputDimensionality": 128}
    with pytest.raises(Refused, match="model: is missing"):
        Translation(route=PREDICT["route"], now=0).request(b'{"input": "a"}', path=PATH)


def test_the_route_says_words_in_the_clients_stead() -> None:
    options = {"input_type": "search_query", "encoding_format": "float", "safety": 1}
    t = Translation(route={"provider": "cohere", "auth": "none", "options": options}, now=0)
    call = t.request(b'{"input": "a", "model": "embed-v4.0", "encoding_format": "base64"}', path=PATH)
    assert isinstance(call, Call) and not t.losses
    sent = json.loads(call.body)
    assert (sent["input_type"], sent["safety"], "encoding_format" in sent) == ("search_query", 1, False)
    answer = answered(t, b'{"embeddings": {"float": [[0.5]]}}', 200, {})
    assert answer["data"][0]["embedding"] == [0.5]


def test_a_route_may_fill_the_upstreams_body() -> None:
    override = {"request_body": {"vertex_predict": {"parameters": {"autoTruncate": False}}}}
    t = Translation(route={**PREDICT["route"], "override": override}, now=0)
    call = t.request(b'{"input": "a", "model": "m", "dimensions": 9}', path=PATH)
    assert isinstance(call, Call)
    assert json.loads(call.body)["parameters"] == {"outputDimensionality": 9, "autoTruncate": False}


@pytest.mark.parametrize(
    ("provider", "model", "upstream"),
    [
        ("vertex-ai", "text-embedding-005", "vertex_predict"),
        ("vertex-ai", "gemini-embedding-001", "vertex_predict"),
        ("vertex-ai", "gemini-embedding-2-preview", "gemini_embeddings"),
        ("vertex-ai", "google/gemini-embedding-2", "gemini_embeddings"),
        ("bedrock", "amazon.titan-embed-text-v2:0", "titan_embeddings"),
        ("bedrock", "amazon.nova-2-multimodal-embeddings-v1:0", "nova_embeddings"),
        ("bedrock", "global.cohere.embed-v4:0", "cohere_bedrock"),
        ("bedrock", "arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-v4:0", "cohere_bedrock"),
        ("cohere", "embed-v4.0", "cohere_embeddings"),
        ("gemini", "gemini-embedding-001", "openai_embeddings"),
    ],
)
@pytest.mark.rows("B3", "B19")
def test_the_upstreams_api_by_the_model(provider: str, model: str, upstream: str) -> None:
    conf = {"vertex-ai": {"project_id": "p", "region": "r"}, "bedrock": {"region": "r"}}.get(provider, {})
    t = Translation(route={"provider": provider, "provider_conf": conf, "auth": "none"}, now=0)
    t.request(json.dumps({"model": model, "input": "a"}).encode(), path=PATH)
    assert t.upstream == upstream
