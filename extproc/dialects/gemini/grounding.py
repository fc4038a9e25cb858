"""Where an answer comes from: ``groundingMetadata`` and ``citationMetadata`` (Gemini API reference, November 2026)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...llm.events import Citation
from ...llm.kept import EVENT_BYTES
from .words import NAME

_STRETCH: Final = 4096
_WITHIN: Final = bytes(range(0x80, 0xC0))
"""Bytes of a character that do not begin it."""


def length(text: str) -> int:
    """Bytes of *text* in UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def _begun(data: bytearray) -> int:
    """Code points that begin in *data*."""
    return len(data.translate(None, _WITHIN))


class Offsets:
    """Places in *told* by another measure, the *size* of what stands before them: of a text by default the bytes of its
    UTF-8. There may be as many to find as a server likes: nothing is to be counted through for each. Only at its end
    may *told* become longer."""

    def __init__(self, told: Any, size: Callable[[Any], int] = length) -> None:
        self._told = told
        self._size = size
        self._before = [0]  # each stretch

    def of(self, place: int) -> int:
        """What stands before *place*; the whole, where that is behind the end."""
        told, size, before = self._told, self._size, self._before
        place = min(max(place, 0), len(told))
        while len(before) * _STRETCH <= place:
            end = len(before) * _STRETCH
            before.append(before[-1] + size(told[end - _STRETCH : end]))
        begun = place // _STRETCH
        return before[begun] + size(told[begun * _STRETCH : place])


class Grounding:
    """The text that is being written, and what cites it. Segments count bytes of UTF-8; citations count code points. In
    a text that would take more than *most* bytes no places are found."""

    def __init__(self, most: int) -> None:
        self._parts: list[str] = []
        self._most = most
        self.start()

    def start(self) -> None:
        self._kept = 0
        self._forget()

    def _forget(self) -> None:
        self._parts.clear()
        self._data = bytearray()  # what came before those
        self._points = Offsets(self._data, _begun)

    def add(self, text: str) -> None:
        self._kept += EVENT_BYTES + len(text)
        if self._kept <= self._most:
            self._parts.append(text)
        else:
            self._forget()

    def citations(self, grounding: Any, citations: Any) -> list[Citation]:
        """What *grounding* says of the text, and *citations* of what it recites."""
        if self._parts:
            self._data.extend("".join(self._parts).encode("utf-8", "surrogatepass"))
            self._parts.clear()
        found = self._grounded(grounding) if type(grounding) is dict else []
        values = citations.get("citations") if type(citations) is dict else None
        for value in values if type(values) is list else ():
            if type(value) is dict and type(uri := value.get("uri")) is str and uri:
                found.append(self._citation(uri, value.get("title"), value))
        return found

    def _grounded(self, grounding: dict[str, Any]) -> list[Citation]:
        chunks, supports = grounding.get("groundingChunks"), grounding.get("groundingSupports")
        sources = [_source(chunk) for chunk in chunks] if type(chunks) is list else []
        out: list[Citation] = []
        cited: set[int] = set()
        for support in supports if type(supports) is list else ():
            indices = support.get("groundingChunkIndices") if type(support) is dict else None
            segment = support.get("segment") if type(support) is dict else None
            for index in indices if type(indices) is list else ():
                if type(index) is not int or not 0 <= index < len(sources) or (source := sources[index]) is None:
                    continue
                cited.add(index)
                out.append(self._citation(source[0], source[1], segment if type(segment) is dict else {}))
        out += [
            self._citation(source[0], source[1], {})
            for index, source in enumerate(sources)
            if source is not None and index not in cited
        ]
        return out

    def _citation(self, uri: str, title: Any, segment: dict[str, Any]) -> Citation:
        text, end = segment.get("text"), segment.get("endIndex")
        begin = segment.get("startIndex") or 0
        start = stop = None
        if type(begin) is int and type(end) is int and 0 <= begin < end <= len(self._data):
            start, stop = self._points_before(begin), self._points_before(end)
        return Citation(
            "url", NAME, uri, title if type(title) is str else None, text if type(text) is str else None, start, stop
        )

    def _points_before(self, position: int) -> int:
        """Code points that have ended before a *position* in bytes."""
        begun = self._points.of(position)
        cut = position < len(self._data) and self._data[position] in _WITHIN
        return begun - 1 if cut else begun

    def rest(self, grounding: dict[str, Any]) -> dict[str, Any]:
        """What citations do not say."""
        told = ("groundingChunks", "groundingSupports")
        return {name: value for name, value in grounding.items() if name not in told and value}


def _source(chunk: Any) -> tuple[str, Any] | None:
    """The address and the title of a page."""
    for name in ("web", "retrievedContext", "maps"):
        found = chunk.get(name) if type(chunk) is dict else None
        if type(found) is dict and type(uri := found.get("uri")) is str and uri:
            return uri, found.get("title")
    return None
