from __future__ import annotations

import pytest

from .helpers import (
    CALL,
    HI,
    MESSAGES,
    NEW,
    OLD,
    Json,
    chat,
    reported,
    to_gemini,
)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, {"text": "a"}),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
         {"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
         {"inlineData": {"mimeType": "image/png", "data": "AA=="},
          "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}),
        ({"type": "image_url", "image_url": {"url": "https://e.x/a.png?x=1"}},
         {"fileData": {"mimeType": "image/png", "fileUri": "https://e.x/a.png?x=1"}}),
        ({"type": "image_url", "image_url": {"url": "https://e.x/a"}}, {"fileData": {"fileUri": "https://e.x/a"}}),
        ({"type": "image_url", "image_url": {"url": "gs://b/photo.png"}},
         {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/photo.png"}}),
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
         {"inlineData": {"mimeType": "audio/mp3", "data": "AA=="}}),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
         {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}),
    ],
)  # fmt: skip
def test_parts(part: Json, expected: Json) -> None:
    sent, _ = chat(messages=[{"role": "user", "content": [part]}])
    assert sent["contents"] == [{"role": "user", "parts": [expected]}]


def test_documents_of_text_and_search_results_are_told_between_tags() -> None:
    text = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
    marked = {"type": "text", "text": "?", "cache_control": {"type": "ephemeral"}}
    turn = {"role": "user", "content": [text, found, marked]}
    t, sent = to_gemini(MESSAGES, {"model": NEW, "max_tokens": 9, "messages": [turn]})
    assert [part["text"] for part in sent["contents"][0]["parts"]] == [
        '<document title="T">\nabc\n</document>', '<search_result title="t" source="s">\nx\n</search_result>', "?",
    ]  # fmt: skip
    assert "cache_control:dropped" in reported(t)


RESULT = {"type": "tool_result", "tool_use_id": "c"}


PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


PNG_PART = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}


def answered(result: Json, model: str = NEW, *after: Json) -> list[Json]:
    turns = [HI, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT | result, *after]}]
    _, sent = to_gemini(MESSAGES, {"model": model, "max_tokens": 9, "messages": turns})
    parts: list[Json] = sent["contents"][2]["parts"]
    return parts


@pytest.mark.parametrize(
    ("result", "response"),
    [
        ({"content": "rain"}, {"output": "rain"}),
        ({"content": '{"temp": 15.0}'}, {"temp": 15.0}),
        ({"content": "[1]"}, {"output": "[1]"}),
        ({"content": "{broken"}, {"output": "{broken"}),
        ({"content": "no", "is_error": True}, {"error": "no"}),
        ({"content": ""}, {"output": ""}),
        ({}, {"output": ""}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"output": "a\nb"}),
    ],
)
def test_results(result: Json, response: Json) -> None:
    assert answered(result) == [{"functionResponse": {"id": "c", "name": "f", "response": response}}]


def test_media_in_results_and_behind_them() -> None:
    result = {"content": [{"type": "text", "text": "see"}, PNG]}
    inside = {"id": "c", "name": "f", "response": {"output": "see"}, "parts": [PNG_PART]}
    assert answered(result, NEW, {"type": "text", "text": "?"}) == [{"functionResponse": inside}, {"text": "?"}]
    outside = {"id": "c", "name": "f", "response": {"output": "see"}}
    assert answered(result, OLD, {"type": "text", "text": "?"}) == [
        {"functionResponse": outside}, PNG_PART, {"text": "?"},
    ]  # fmt: skip


def test_arguments_that_are_no_object_are_kept_and_said() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{bad"}}
    turns = [HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "x"}]
    sent, lost = chat(OLD, messages=turns)
    [part] = sent["contents"][1]["parts"]
    assert part == {"functionCall": {"id": "a", "name": "f", "args": {"INVALID_JSON": "{bad"}}}
    assert lost == {"messages[1].tool_calls[0]:rewritten"}
