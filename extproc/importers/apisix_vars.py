"""APISIX's conditions on a route, ``vars``, as what Envoy's matches ask for beside the path.

What has no equivalent never widens a route: the requests that would have to be looked at are left out, and it is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from ..gateway.envoy import Made
from .patterns import is_re2

Atom = tuple[str, dict[str, Any]]
"""A list of a match of Envoy's, and one of its members."""
MOST = 64
"""Matches that one route may come to."""
_WORDS = ("AND", "OR", "!AND", "!OR")
_LEAST_INTEGER, _MOST_INTEGER = -(2**63), 2**63 - 1
_RANGES = (">", ">=", "<", "<=")
_HINTS = {"ipmatch": "; envoy.filters.http.rbac looks at addresses"}


class _None(Exception):
    """There is no equivalent."""


def listed(given: Any) -> list[Any]:
    """*given* as a list of conditions; it may be a single one."""
    conditions = given or []
    return (
        [conditions]
        if not isinstance(conditions, list) or isinstance(next(iter(conditions), None), str)
        else conditions
    )


def alternatives(given: Any, made: Made, where: str) -> list[dict[str, list[dict[str, Any]]]]:
    """What *given* comes to: members of a match, of which one has to fit. None if none is left."""
    found = _Told(made, where).read(["AND", *listed(given)], False)
    if len(found) > MOST:
        made.note(where, f"come to {len(found)} matches of Envoy's, and the route is left out: write it as several")
        return []
    made_of = []
    for atoms in found:
        lists: dict[str, list[dict[str, Any]]] = {}
        for member, atom in atoms:
            if atom not in lists.setdefault(member, []):
                lists[member].append(atom)
        made_of.append(lists)
    return made_of


class _Told:
    def __init__(self, made: Made, where: str) -> None:
        self.made = made
        self.where = where

    def read(self, condition: Any, turned: bool) -> list[list[Atom]]:
        """One of these has to hold as a whole for *condition*, or if *turned* for its contrary."""
        if isinstance(condition, list) and condition and isinstance(condition[0], list):
            condition = ["AND", *condition]
        if isinstance(condition, list) and condition and str(condition[0]).upper() in _WORDS:
            word = str(condition[0]).upper()
            turned = turned != word.startswith("!")
            if not turned and (one := _one_name(condition)):
                return self.read(one, False)
            parts = [self.read(part, turned) for part in condition[1:]]
            if word.endswith("OR") != turned:
                return [atoms for part in parts for atoms in part]
            if math.prod(map(len, parts)) > MOST * MOST:
                self.made.note(self.where, "come to too many matches of Envoy's: what they are for is left out")
                return []
            return [[atom for atoms in chosen for atom in atoms] for chosen in product(*parts)]
        try:
            return [list(self._leaf(condition, turned))]
        except _None:
            hint = next((_HINTS[word] for word in condition if word in _HINTS), "") if _is_leaf(condition) else ""
            said = f"the condition {condition!r} has no equivalent here: requests that need it are left out{hint}"
            self.made.note(self.where, said)
            return []

    def _leaf(self, condition: Any, turned: bool) -> Iterator[Atom]:
        """A name, an operator, a value; ``!`` before the operator turns it round."""
        if not _is_leaf(condition):
            raise _None
        name, operator, value = str(condition[0]), str(condition[-2]), condition[-1]
        turned = turned != (len(condition) == 4)
        if operator == "~=":
            operator, turned = "==", not turned
        header = _header(name)
        if header:
            asked = _range(operator, value) if operator in _RANGES else {"string_match": _string(operator, value)}
            yield "headers", _turned(header, asked, turned)
        elif name in ("host", "uri") and operator in ("==", "in"):
            words = "|".join(map(re.escape, _words(value)))
            regex = f"(?i)(?:{words})(?::[0-9]+)?" if name == "host" else f"(?:{words})(?:\\?.*)?"
            asked = {"string_match": {"safe_regex": {"regex": regex}}}
            yield "headers", _turned(":authority" if name == "host" else ":path", asked, turned)
        elif name.startswith("arg_") and not turned:
            yield "query_parameters", {"name": name[4:], "string_match": _string(operator, value)}
        elif name.startswith("arg_") and operator in ("==", "in"):
            words = "|".join(map(re.escape, _words(value)))
            regex = f"[^?]*\\?(?:.*&)?{re.escape(name[4:])}=(?:{words})(?:&.*)?"
            yield "headers", _turned(":path", {"string_match": {"safe_regex": {"regex": regex}}}, True)
        elif name.startswith("cookie_") and operator in ("==", "in"):
            words = "|".join(map(re.escape, _words(value)))
            regex = f"(?:.*;)?\\s*{re.escape(name[7:])}=(?:{words})\\s*(?:;.*)?"
            yield "headers", _turned("cookie", {"string_match": {"safe_regex": {"regex": regex}}}, turned)
        elif name.startswith("post_arg.") and not re.search(r"[\[\]*$]", name):
            yield "dynamic_metadata", self._member(name.removeprefix("post_arg."), operator, value, turned)
        else:
            raise _None

    def _member(self, name: str, operator: str, value: Any, turned: bool) -> dict[str, Any]:
        if operator in _RANGES:
            wanted: dict[str, Any] = {"double_match": {"range": _reals(operator, value)}}
        elif operator == "==" and isinstance(value, (bool, int, float)):
            wanted = _exactly(value)
        elif operator == "in" and isinstance(value, list) and not all(isinstance(each, str) for each in value):
            wanted = {"or_match": {"value_matchers": [_exactly(each) for each in value]}}
        else:
            wanted = {"string_match": _string(operator, value)}
        return self.made.by_body(name, wanted) | ({"invert": True} if turned else {})


def _is_leaf(condition: Any) -> bool:
    if not isinstance(condition, list) or not all(isinstance(word, str) for word in condition[:-1]):
        return False
    return len(condition) == 3 or (len(condition) == 4 and condition[1] == "!")


def _one_name(condition: list[Any]) -> list[Any] | None:
    """``["OR", [NAME, "==", A], [NAME, "==", B]]`` as ``[NAME, "in", [A, B]]``."""
    parts = condition[1:]
    if str(condition[0]).upper() != "OR" or not all(_is_leaf(part) and len(part) == 3 for part in parts):
        return None
    if len({part[0] for part in parts}) != 1 or any(part[1] not in ("==", "in") for part in parts):
        return None
    values = [each for part in parts for each in (part[2] if isinstance(part[2], list) else [part[2]])]
    return [parts[0][0], "in", values]


def _header(name: str) -> str:
    if name.startswith("http_"):
        return name[5:].replace("_", "-").lower()
    return {"post_arg.model": "x-extproc-model", "request_method": ":method"}.get(name, "")


def _turned(header: str, asked: dict[str, Any], turned: bool) -> dict[str, Any]:
    # In Lua what is not there is unlike any text, and no number.
    contrary = {"invert_match": True, "treat_missing_header_as_empty": True} if turned else {}
    return {"name": header, **asked, **contrary}


def _words(value: Any) -> list[str]:
    """A value, or each of a list of them, as text."""
    listed = value if isinstance(value, list) else [value]
    if not listed or any(isinstance(each, (list, dict)) or each is None for each in listed):
        raise _None
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in listed]


def one_of(words: list[str]) -> dict[str, Any]:
    """A StringMatcher for any of *words*."""
    if len(words) == 1:
        return {"exact": words[0]}
    return {"safe_regex": {"regex": "|".join(map(re.escape, words))}}


def _string(operator: str, value: Any) -> dict[str, Any]:
    if operator == "in" or (operator == "==" and not isinstance(value, list)):
        return one_of(_words(value))
    if operator not in ("~~", "~*") or not isinstance(value, str):
        raise _None
    if not is_re2(value):
        raise _None
    return {"safe_regex": {"regex": ("(?i)" if operator == "~*" else "") + f".*(?:{value}).*"}}


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise _None
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise _None from None
    if not math.isfinite(found) or abs(found) >= 2**53:
        raise _None
    return found


def _range(operator: str, value: Any) -> dict[str, Any]:
    """A header's whole number."""
    number = _number(value)
    up, beyond = math.ceil(number), math.floor(number) + 1
    start = {">": beyond, ">=": up}.get(operator, _LEAST_INTEGER)
    end = {"<": up, "<=": beyond}.get(operator, _MOST_INTEGER)
    return {"range_match": {"start": start, "end": end}}


def _reals(operator: str, value: Any) -> dict[str, Any]:
    number = _number(value)
    beyond = math.nextafter(number, math.inf)
    return {
        ">": {"start": beyond, "end": 1e308}, ">=": {"start": number, "end": 1e308},
        "<": {"start": -1e308, "end": number}, "<=": {"start": -1e308, "end": beyond},
    }[operator]  # fmt: skip


def _exactly(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"bool_match": value}
    if isinstance(value, str):
        return {"string_match": {"exact": value}}
    return {"double_match": {"exact": _number(value)}}
