from __future__ import annotations

import pytest

from extproc.dialects.gemini.media import AUDIO_FORMATS, AUDIO_TYPES, guessed_type, is_googles


def test_formats_of_audio_run_both_ways() -> None:
    assert all(AUDIO_FORMATS[kind] == name for name, kind in AUDIO_TYPES.items())
    assert AUDIO_FORMATS["audio/mpeg"] == "mp3"


@pytest.mark.parametrize(
    ("uri", "kind", "found"),
    [
        ("https://e.x/a.png?x=1#y.pdf", "", "image/png"),
        ("https://e.x/a.PNG", "image/", "image/png"),
        ("https://e.x/a.pdf", "image/", None),
        ("https://e.x/a.exe", "", None),
        ("https://e.x/png", "", None),
        ("gs://b/a.b/photo.jpeg", "", "image/jpeg"),
        ("https://[/a.png", "", None),
    ],
)
def test_a_type_by_its_suffix(uri: str, kind: str, found: str | None) -> None:
    assert guessed_type(uri, kind) == found


@pytest.mark.parametrize(
    ("uri", "googles"),
    [
        ("gs://b/a", True),
        ("https://generativelanguage.googleapis.com/v1beta/files/x", True),
        ("files/x", True),
        ("https://e.x/a", False),
        ("https://youtu.be/x", False),
    ],
)
def test_what_only_google_can_read(uri: str, googles: bool) -> None:
    assert is_googles(uri) is googles
