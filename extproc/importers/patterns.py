"""Patterns of other gateways as Envoy's RE2 takes them, or not."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

_NOT_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!])|\\[1-9]|[*+?}]\+")
"""Look-arounds, atomic groups, back references and possessive repetitions."""


def is_re2(pattern: str) -> bool:
    """Whether Envoy takes *pattern*; without google-re2, as far as that can be told."""
    if _NOT_RE2.search(pattern):
        return False
    try:
        re2: Any = importlib.import_module("re2")
    except ImportError:
        return _compiles(re.compile, re.error, pattern)
    options = re2.Options()
    options.log_errors = False
    return _compiles(lambda text: re2.compile(text, options), re2.error, pattern)


def _compiles(compile_: Callable[[str], Any], error: type[Exception], pattern: str) -> bool:
    try:
        compile_(pattern)
    except error:
        return False
    return True
