"""Whether all that one of Envoy's matches takes, another takes as well."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .tree import Node

_ANYTHING = re.compile(r"\^?/?\.\*\$?\Z")
_BEGINS = re.compile(r"\^?((?:[\w/ :~-]|\\[^\w\s])*)(\.\*|\.\+)\$?\Z")
"""A pattern that only says how a text begins."""
_LONGEST, _MOST = 200, 3
_KINDS = ("exact", "prefix", "suffix", "contains")


@dataclass(frozen=True)
class TextMatch:
    """What a StringMatcher, or an older form of it, asks of a text."""

    kind: str
    """One of ``_KINDS``, ``regex``, ``present``, or empty for what is not understood."""
    value: str = ""
    folds: bool = False

    def fits(self, text: str) -> bool:
        """Whether *text* is certain to fit."""
        value = self.value
        if self.folds:
            text, value = text.lower(), value.lower()
        return {
            "present": True,
            "exact": text == value,
            "prefix": text.startswith(value),
            "suffix": text.endswith(value),
            "contains": value in text,
            "regex": self.kind == "regex" and _fits(value, text),
        }.get(self.kind, False)

    def takes(self, other: TextMatch) -> bool:
        """Whether whatever fits *other* fits this."""
        if self == other or self.kind == "present":
            return bool(self.kind)
        if self.kind == "regex":
            begins = _BEGINS.match(self.value)
            if begins and (other.kind == "exact" or begins[2] == ".*" or len(other.value) > len(_plain(begins[1]))):
                return TextMatch("prefix", _plain(begins[1])).takes(other)
            return other.kind == "exact" and not other.folds and self.fits(other.value)
        if not self.value and self.kind in ("prefix", "suffix", "contains"):
            return True
        if other.folds and not self.folds:
            return False
        if other.kind == "exact":
            return self.fits(other.value)
        if other.kind == "regex":
            begins = _BEGINS.match(other.value)
            return begins is not None and self.kind in ("prefix", "contains") and self.fits(_plain(begins[1]))
        same = other.kind == self.kind and self.kind in ("prefix", "suffix", "contains")
        within = self.kind == "contains" and other.kind in ("prefix", "suffix")
        return (same or within) and self.fits(other.value)


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", r"\1", escaped)


def _fits(pattern: str, text: str) -> bool:
    """Whether *text* as a whole fits *pattern*, as far as that can be told without a pattern taking its time."""
    repeats = len(re.findall(r"[*+{]", pattern))
    if len(text) > _LONGEST or len(pattern) > _LONGEST or repeats > _MOST or re.search(r"\)[*+{]", pattern):
        return False
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:
        return False


def _text(node: Node, asked: Node) -> TextMatch:
    """What a header's or a parameter's match *node* asks, with *asked* its StringMatcher."""
    folds = asked.get("ignore_case").true
    for kind in _KINDS:
        for found in (asked.get(kind), node.get(f"{kind}_match")):
            if found:
                return TextMatch(kind, found.text, folds)
    for found in (asked.get("safe_regex", "regex"), node.get("safe_regex_match", "regex")):
        if found:
            return TextMatch("regex", found.text)
    others = set(node.plain()) - {"name", "invert_match", "invertMatch"}
    return TextMatch("present") if not others or node.get("present_match").true else TextMatch("")


def implies(given: Node, asked: Node) -> bool:
    """Whether a header or a parameter that fits *given* fits *asked*."""
    if given.plain() == asked.plain():
        return True
    names = {node.get("name").text.lower() for node in (given, asked)}
    if len(names) > 1 or given.get("invert_match").true or given.get("treat_missing_header_as_empty").true:
        return False
    given_text, wanted = (_text(node, node.get("string_match")) for node in (given, asked))
    if asked.get("invert_match").true:
        return given_text.kind == "exact" and not given_text.folds and _misses(wanted, given_text.value)
    return bool(given_text.kind) and wanted.takes(given_text)


def _misses(wanted: TextMatch, text: str) -> bool:
    """Whether *text* is certain not to fit *wanted*."""
    return wanted.kind in _KINDS and not wanted.fits(text)


def is_anything(pattern: str) -> bool:
    """Whether every path fits *pattern*."""
    return _ANYTHING.match(pattern) is not None


def _path(match: Node) -> TextMatch:
    folds = match.get("case_sensitive").false
    if pattern := match.get("safe_regex", "regex").text:
        return TextMatch("regex", pattern)
    for member, kind in (("path", "exact"), ("prefix", "prefix"), ("path_separated_prefix", "prefix")):
        if match.get(member):
            return TextMatch(kind, match.get(member).text, folds)
    return TextMatch("")


def takes_path(earlier: Node, later: Node) -> bool:
    """Whether each path that the match *later* takes is one of *earlier*'s."""
    first, second = _path(earlier), _path(later)
    if first.kind == "prefix" and first.value in ("", "/"):
        return True
    if not second.kind or not first.kind:
        return first.kind == "regex" and is_anything(first.value)
    if earlier.get("path_separated_prefix"):
        # Only whole parts: itself, and what is beneath it.
        beneath = TextMatch("prefix", f"{first.value}/", first.folds).takes(second)
        parted = second.kind == "exact" or later.get("path_separated_prefix")
        return beneath or bool(
            parted
            and TextMatch("exact", first.value, first.folds).takes(TextMatch("exact", second.value, second.folds))
        )
    if second.kind == "prefix" and first.kind == "regex" and not _BEGINS.match(first.value):
        return is_anything(first.value)
    return first.takes(second)
