"""Our own secrets in what an upstream says: a server that repeats what it got must not tell a client our key.

Replaced is each secret, in whatever spelling servers and proxies repeat things: as it is, in other case,
percent-encoded, escaped for JSON or HTML, in base64 (also amid other text) and hexadecimal. And what AWS shows of a
request whose signature it does not accept.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final
from urllib.parse import quote, quote_plus

from .secrets import MASK

MIN_SECRET: Final = 6
"""Characters: what is shorter is no secret, and stands in many a word."""
MAX_SECRET: Final = 64 * 1024
"""What is longer never travels in a header."""
MAX_SPELLED: Final = 32
"""Secrets that are looked for in every spelling."""
MAX_REMEMBERED: Final = 16 * 1024
"""Characters of secrets whose mask is kept for the next exchange."""
_GROWS: Final = "\u0130"
"""The one letter that is two as a small one."""

_AWS: Final = re.compile(
    # Up to the end of the text, or of the JSON string in which it stands.
    r"((?:Canonical String|String-to-Sign) for this request should have been)(?:[^\"\\]|\\.)*"
    r"|(Signature=)[0-9a-f]{64}",
    re.DOTALL,
)


class Mask:
    """Replaces *secrets*, and nothing that is too short to be one. Of very many, as a client's headers may hold, the
    first ones alone in every spelling."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = dict.fromkeys(s for s in secrets if MIN_SECRET <= len(s) <= MAX_SECRET)
        spelled = {spelling for secret in islice(known, MAX_SPELLED) for spelling in _spellings(secret)}
        self._raw = tuple(sorted(secret.encode() for secret in known))
        self._lower = tuple(sorted({spelling.lower() for spelling in spelled.union(known)}))

    def __repr__(self) -> str:
        return f"Mask({MASK})"

    def text(self, text: str) -> str:
        """*text* without them."""
        # No expression of them all: to compile one of a long secret's spellings takes seconds.
        lower = (text.replace(_GROWS, "i") if _GROWS in text else text).lower()
        if found := [spelling for spelling in self._lower if spelling in lower]:
            text = _masked(text, lower, found)
        if "ignature=" in text or "for this request" in text:
            text = _AWS.sub(lambda found: f"{found[1]} {MASK}" if found[1] else f"{found[2]}{MASK}", text)
        return text

    def data(self, data: bytes) -> bytes:
        """*data*, which is text of some kind, without them."""
        text = data.decode("utf-8", "surrogateescape")
        masked = self.text(text)
        return data if masked == text else masked.encode("utf-8", "surrogateescape")

    def headers(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """*headers*, as they are if none holds one: that is nearly always so, and seen at one look."""
        joined = "\n".join([value for _, value in headers])
        if self.text(joined) == joined:
            return headers
        return [(name, self.text(value)) for name, value in headers]

    def shows_in(self, data: bytes) -> bool:
        """Whether *data* holds a secret as it is: a quick look, for each piece of a stream."""
        # What is asked of every piece: ``in`` takes twice what ``replace`` does, and ``find`` nearly so.
        for secret in self._raw:  # noqa: SIM110
            if len(data.replace(secret, b"")) != len(data):
                return True
        return False

    def begun_in(self, data: bytes) -> int:
        """How many bytes at the end of *data* are the beginning of a secret: what comes next may be the rest of it."""
        # Nearly every piece of a stream ends with a line, and no secret has one in it.
        if data.endswith(b"\n"):
            return 0
        longest = 0
        for secret in self._raw:
            for size in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:size]):
                    longest = size
                    break
        return longest


def mask_of(secrets: tuple[str, ...]) -> Mask:
    """The mask for *secrets*: a route's are mostly the same. Where a client's are among them they may be anything, and
    long ones are not kept."""
    return _remembered(secrets) if sum(map(len, secrets)) <= MAX_REMEMBERED else Mask(secrets)


_remembered: Final = lru_cache(maxsize=64)(Mask)
NOTHING: Final = Mask(())
"""Hides nothing."""


def _masked(text: str, lower: str, spellings: Iterable[str]) -> str:
    """*text*, which is *lower* in small letters, without *spellings*."""
    spans: list[tuple[int, int]] = []
    for spelling in spellings:
        at = lower.find(spelling)
        while at >= 0:
            end = at + len(spelling)
            spans.append((at, end))
            at = lower.find(spelling, end)
    out: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            out += (text[done:start], MASK)
        done = max(done, end)
    return "".join([*out, text[done:]])


def words(value: str) -> list[str]:
    """What of a credential header's *value* is the secret: without its scheme, and of ``Basic`` what it encodes too."""
    scheme, _, rest = value.strip().rpartition(" ")
    found = [rest]
    if scheme.lower() == "basic":
        try:
            name_and_password = base64.b64decode(rest, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return found
        found += [name_and_password, name_and_password.partition(":")[2]]
    return found


def _spellings(secret: str) -> set[str]:
    """*secret* in the ways in which it may be repeated."""
    percent = quote(secret, safe="")
    escaped = json.dumps(secret)[1:-1]
    unescaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    angles = unescaped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    texts = (percent, quote(percent, safe=""), quote(secret), quote_plus(secret), escaped, unescaped, angles)
    slashed = [text.replace("/", "\\/") for text in (secret, escaped, unescaped)]
    raw = secret.encode()
    return {secret, *texts, *slashed, html.escape(secret), raw.hex(), *_base64(raw)}


def _base64(raw: bytes) -> set[str]:
    """How *raw* looks in base64 after no, one and two bytes of something else: the characters that it alone decides."""
    found: set[str] = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = (0, 2, 3)[before]
        last = len(encoded) - (1 if (before + len(raw)) % 3 else 0)
        middle = encoded[first:last]
        found |= {middle, middle.replace("+", "-").replace("/", "_")}
    return {text for text in found if len(text) >= MIN_SECRET}
