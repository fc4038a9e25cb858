"""What ``redact`` knows by itself: which spans of a text are an address, a number of an account, a key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator

from ..frozen import Frozen
from .given import Given
from .patterns import Pattern, compiled

Span = tuple[int, int]
Check = Callable[[bytes], Iterator[Span]]
"""Where in what a pattern has found the things themselves are, in order. What is long it must go through once."""


class Recogniser(Frozen):
    name: str
    pattern: Pattern
    check: Check | None = None
    step: bool = False
    """What is none may hold one that begins later."""

    def spans(self, text: bytes) -> Iterator[Span]:
        at = 0
        while (found := self.pattern.next_in(text, at)) is not None:
            start, end = found
            at = start + 1 if self.step or start == end else end
            if self.check is None:
                if start < end:
                    yield found
                continue
            for begins, ends in self.check(text[start:end]):
                yield start + begins, start + ends
                at = start + ends


KEYS = (
    rb"sk-[A-Za-z0-9_-]{20,}",
    rb"(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    rb"gh[oprsu]_[A-Za-z0-9]{36,}",
    rb"github_pat_[A-Za-z0-9_]{22,}",
    rb"glpat-[A-Za-z0-9_-]{20,}",
    rb"xox[abeprs]-[A-Za-z0-9-]{10,}",
    rb"AIza[A-Za-z0-9_-]{35}",
    rb"ya29\.[A-Za-z0-9_-]{20,}",
    rb"[prs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    rb"hf_[A-Za-z0-9]{30,}",
    rb"npm_[A-Za-z0-9]{36}",
    rb"pypi-[A-Za-z0-9_-]{50,}",
    rb"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+",
)
"""OpenAI, Anthropic and those like them; AWS, GitHub (2), GitLab, Slack, Google (2), Stripe, Hugging Face, npm, PyPI,
SendGrid; signed tokens (JWT)."""
_PEM = rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s:,\\-]*?-----END [A-Z ]*PRIVATE KEY-----"
_WORD = rb"[A-Za-z0-9-]"

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
"""Characters of an account's number by its country, as SWIFT registers them."""
_DIGITS = re.compile(rb"\d+")
_CARD = range(13, 20)
_GROUP = (4, *_CARD)
"""How many of a card's digits stand together first."""
_TWICE = bytes.maketrans(b"0123456789", bytes(48 + each for each in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_PHONE = range(8, 16)
"""How many digits, by ISO/IEC 7812 and E.164."""


def _iban(found: bytes) -> Iterator[Span]:
    length = _IBAN_LENGTHS.get(found[:2].decode().upper())
    places = [at for at, sign in enumerate(found) if sign not in b" -"]
    if length is None or len(places) < length:
        return
    end = places[length - 1] + 1
    plain = found[:end].replace(b" ", b"").replace(b"-", b"").decode().upper()
    number = "".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])
    if int(number) % 97 == 1:
        yield 0, end


def _card(found: bytes) -> Iterator[Span]:
    """All that stand in a row of groups of digits: a list of cards is one."""
    groups = [each.span() for each in _DIGITS.finditer(found)]
    first = 0
    while first < len(groups):
        start, end = groups[first]
        count = 0
        if found[start] in b"23456" and end - start in _GROUP:
            count = _groups_of_a_card(found, groups[first : first + 7])
        if count:
            yield start, groups[first + count - 1][1]
        first += max(count, 1)


def _groups_of_a_card(found: bytes, groups: list[Span]) -> int:
    """How many of *groups*, from the first on, are one; 0 if none are."""
    digits = b""
    for at, (begin, end) in enumerate(groups):
        if len(digits) + end - begin >= _CARD.stop:
            break
        digits += found[begin:end]
        if len(digits) in _CARD and _luhn(digits):
            return at + 1
    return 0


def _luhn(digits: bytes) -> bool:
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_TWICE)) - 48 * len(digits)
    return total % 10 == 0


def _phone(found: bytes) -> Iterator[Span]:
    """As many groups of digits as one number can have."""
    count, last = 0, 0
    for each in _DIGITS.finditer(found):
        if count + len(each[0]) >= _PHONE.stop:
            break
        count += len(each[0])
        last = each.end()
    if count in _PHONE:
        yield 0, last


def _ip(found: bytes) -> Iterator[Span]:
    # a::b is as often a name in a program.
    if b"." not in found and (len(found) <= 5 or _DIGITS.search(found) is None):
        return
    address = ipaddress.ip_address(found.decode())
    if not (address.is_loopback or address.is_unspecified):
        yield 0, len(found)


_IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\b"
_H16 = "[0-9A-Fa-f]{1,4}"
_LS32 = f"(?:{_IPV4}|{_H16}:{_H16})"
_IPV6 = "|".join((
    rf"\b(?:{_H16}:){{6}}{_LS32}",
    rf"::(?:{_H16}:){{5}}{_LS32}",
    *(rf"(?:\b(?:{_H16}:){{0,{4 - after}}}{_H16})?::(?:{_H16}:){{{after}}}{_LS32}" for after in (4, 3, 2, 1, 0)),
    rf"(?:\b(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
    rf"\b(?:{_H16}:){{0,6}}{_H16}::",
))  # fmt: skip
"""Both exactly, by the grammar of RFC 3986: of what only looks like one each byte might begin another."""

_KNOWN: dict[str, tuple[bytes, Check | None, bool]] = {
    "key": (rb"\b(?:" + rb"|".join(KEYS) + rb")|" + _PEM, None, False),
    "email": (rb"[A-Za-z0-9._%+'-]+@(?:" + _WORD + rb"+\.)+[A-Za-z][A-Za-z]+", None, False),
    "iban": (rb"(?i)\b[A-Z]{2}\d\d(?:[ -]?[A-Z0-9]){11,30}", _iban, True),
    "card": (rb"\b\d{3,}(?:[ -]\d{3,})*\b", _card, False),
    "ip": (rf"\b{_IPV4}|{_IPV6}".encode(), _ip, True),
    "phone": (
        rb"(?:\+|\b00)\d(?:[ ()./-]{0,4}\d){7,15}"
        rb"|\(\d{3}\) ?\d{3}[ .-]\d{4}\b|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b|\b1[3-9]\d{9}\b",
        _phone, False,
    ),
}  # fmt: skip
"""What each looks for, in the order in which one of two that overlap counts."""
NAMES = tuple(_KNOWN)


def known(given: Given, member: str, name: str) -> Recogniser:
    """Raises PolicyError."""
    pattern, check, step = _KNOWN[name]
    return Recogniser(name, compiled(given, member, pattern.decode(), ours=True), check, step)
