"""Media and documents for APIs that take them as data: URLs, or as text between tags."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote

from ...llm.failures import ProtocolError, Unsupported
from ...llm.request import Document, Source, Text


def data_uri(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def image_source(url: str, at: str) -> Source:
    """Where an image comes from. Raises ProtocolError."""
    if url[:5].lower() == "data:":
        media_type, data, is_base64 = _read_data_uri(url, at)
        if not is_base64:
            raise ProtocolError(at, "a data: URL of an image must be base64")
        return Source("base64", data, media_type)
    if url[:8].lower().startswith(("http://", "https://", "gs://")):
        return Source("url", url)
    raise ProtocolError(at, "expected a data: or an http(s) URL")


def file_source(data: str, at: str) -> Source:
    """What a file holds: a data: URL, or base64 alone. Raises ProtocolError."""
    if data[:8].lower().startswith(("http://", "https://")):
        return Source("url", data)
    if data[:5].lower() != "data:":
        return Source("base64", without_spaces(data))
    media_type, data, is_base64 = _read_data_uri(data, at)
    if is_base64:
        return Source("base64", data, media_type)
    if media_type and not media_type.startswith("text/"):
        raise ProtocolError(at, "a data: URL of a file must be base64")
    return Source("text", unquote(data), media_type or "text/plain")


def _read_data_uri(uri: str, at: str) -> tuple[str, str, bool]:
    """The media type, the data, and whether they are base64 (RFC 2397)."""
    head, comma, data = uri[5:].partition(",")
    if not comma:
        raise ProtocolError(at, "a data: URL without a comma")
    media_type, *parameters = (word.strip().lower() for word in head.split(";"))
    if media_type == "image/jpg":
        media_type = "image/jpeg"
    if "base64" not in parameters:
        return media_type, data, False
    if "%" in data:
        data = unquote(data)
    if data[:5].lower() == "data:" and ";base64," in data[:256]:
        # Said twice.
        return _read_data_uri(data, at)
    return media_type, without_spaces(data), True


_KINDS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
)
_SPACES: Final = " \n\r\t\x0b\x0c\x1c\x1d\x1e\x1f"
"""Those of ASCII that ``str.split`` splits at."""
_STRETCH: Final = 128 * 1024
_FROM_URL_SAFE: Final = str.maketrans("-_", "+/")


def media_type(data: str) -> str | None:
    """What base64 *data* are, by their first bytes: an image, a PDF, or not known."""
    try:
        head = base64.b64decode(data[:24])
    except ValueError:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _KINDS if head.startswith(magic)), None)


def _holds(data: str, characters: str) -> bool:
    """Whether any of *characters* stands in *data*, which may be many megabytes: each is looked for by itself, in
    stretches that stay in the processor's cache, in a tenth of the time that a regular expression takes."""
    for start in range(0, len(data), _STRETCH):
        end = start + _STRETCH
        for character in characters:
            if data.find(character, start, end) >= 0:
                return True
    return False


def without_spaces(data: str) -> str:
    """*data* without the line ends that some encoders put into base64."""
    return data if data.isascii() and not _holds(data, _SPACES) else "".join(data.split())


def standard_base64(data: str) -> str:
    """*data* in the standard alphabet, with its padding, without line ends."""
    whole = len(data) % 4 == 0 and data.find("=", 0, -2) < 0
    if whole and data.isascii() and not _holds(data, _SPACES + "-_"):
        return data
    bare = "".join(data.split()).translate(_FROM_URL_SAFE).rstrip("=")
    return bare + "=" * (-len(bare) % 4)


def as_text(data: str) -> str | None:
    """The text that base64 *data* hold, ``None`` if they hold none."""
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except ValueError:
        return None


def foreign(source: Source, at: str) -> Unsupported:
    """What to raise for a source that only another API can read."""
    what = "file ids of another provider are" if source.kind == "file" else f"a source of kind {source.kind} is"
    return Unsupported(at, f"{what} not supported for this model")


def is_web(source: Source) -> bool:
    """Whether *source* is an address that any provider can open: not a bucket of one cloud's."""
    return source.kind == "url" and source.data[:8].lower().startswith(("http://", "https://", "data:"))


def is_film(source: Source) -> bool:
    """Whether *source* are pictures that move, or sounds: no file that a model reads."""
    return (source.media_type or "").lower().startswith(("video/", "audio/"))


def is_text(block: Document) -> bool:
    """Whether *block* holds nothing but text."""
    source = block.source
    if source is None:
        return type(block.blocks) is not list or all(type(inner) is Text for inner in block.blocks)
    return source.kind == "text" or is_plain(source)


_NAMELESS: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""Media types that say nothing."""


def is_plain(source: Source) -> bool:
    """Whether *source* are the bytes of a text: by their type; or by themselves, where that names a form of text, or
    nothing at all."""
    if source.kind != "base64":
        return False
    if source.declared.startswith("text/"):
        return True
    named = source.declared not in _NAMELESS and not source.names_text
    # Browsers take TypeScript (video/mp2t) for a film.
    if (named and not is_film(source)) or media_type(source.data) is not None:
        return False
    text = as_text(standard_base64(source.data))
    return text is not None and "\x00" not in text


def decoded(data: str, at: str) -> str:
    """The text of a file, from base64. Raises Unsupported."""
    try:
        return base64.b64decode(standard_base64(data)).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unsupported(at, "a text file must be base64 of UTF-8", "invalid_value") from None


def tag(name: str, **attributes: str | None) -> str:
    """What stands before a text that is told apart by tags."""
    written = (f' {key}="{_quoted(value)}"' for key, value in attributes.items() if value)
    return f"<{name}{''.join(written)}>"


def _quoted(value: str) -> str:
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("\n", " ")
