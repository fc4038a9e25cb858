"""Media types, as Gemini names them."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

AUDIO_TYPES: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
}
"""OpenAI's names of formats -> media types."""
AUDIO_FORMATS: Final = {kind: name for name, kind in AUDIO_TYPES.items()} | {"audio/mpeg": "mp3", "audio/x-wav": "wav"}

IN_RESULTS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})
"""What a function's response may hold (Gemini API, "Multimodal function responses", November 2026)."""

_SUFFIXES: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown",
    "html": "text/html", "csv": "text/csv", "wav": "audio/wav", "mp3": "audio/mp3", "flac": "audio/flac",
    "ogg": "audio/ogg", "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm", "mpeg": "video/mpeg",
}  # fmt: skip
_FILES = ("gs://", "https://generativelanguage.googleapis.com/")


def guessed_type(uri: str, kind: str = "") -> str | None:
    """The media type that *uri*'s suffix tells, one that begins with *kind*."""
    try:
        path = urlsplit(uri).path
    except ValueError:
        return None
    found = _SUFFIXES.get(path.rpartition(".")[2].lower())
    return found if found is not None and found.startswith(kind) else None


def is_googles(uri: str) -> bool:
    """Whether only Google can read what lies at *uri*: a file that was uploaded, an object of Cloud Storage."""
    return uri.startswith(_FILES) or "://" not in uri
