"""``prompt_template``: a client names one of the operator's templates and says what goes into it.

``templates`` is a list of ``{name, template}``; a template is a request's body, in the API of the client's path. A body
``{"template_name": ..., "city": ...}`` becomes that template with each ``{{city}}`` filled in: within a text as text,
whatever signs are in it; a text that is nothing but ``{{city}}`` becomes the value itself, of whatever type. Any other
body goes on as it came.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..frozen import Frozen
from .base import Deny, Make, Policy
from .given import Given

_VARIABLE = re.compile(r"\{\{ ?([A-Za-z_][A-Za-z0-9_]{0,63}) ?\}\}")
NAMED_BY = "template_name"
_MENTIONED = NAMED_BY.encode()
_MAX_FILLED = 16 * 1024 * 1024
"""Characters that variables may make of a template, in which one may stand many times."""


class _Template(Frozen):
    body: dict[str, Any]
    variables: list[str]
    """In the order in which they come."""


def configure(given: Given) -> Make:
    templates: dict[str, _Template] = {}
    for part in given.parts("templates"):
        name, body = part.text("name"), part.mapping("template")
        part.finish()
        if name in templates:
            raise part.error("name", f"two templates are called {name[:64]!r}")
        templates[name] = _Template(body, list(dict.fromkeys(_named_in(body))))
    if not templates:
        raise given.error("templates", "is needed")
    return lambda context: PromptTemplate(templates)


class PromptTemplate(Policy):
    """Of one exchange."""

    def __init__(self, templates: dict[str, _Template]) -> None:
        self._templates = templates

    def on_body(self, body: bytes) -> bytes | Deny:
        if _MENTIONED not in body:
            return body
        try:
            given = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return body
        if type(given) is not dict or NAMED_BY not in given:
            return body
        name = given.pop(NAMED_BY)
        template = self._templates.get(name) if type(name) is str else None
        if template is None:
            return _wrong(f"no template is called {str(name)[:64]!r}; choose one of: {', '.join(self._templates)}")
        missing = [variable for variable in template.variables if variable not in given]
        if missing:
            return _wrong(f"the template {name!r} needs a value for: {', '.join(missing)}")
        try:
            return msgspec.json.encode(_Filling(given).filled(template.body))
        except OverflowError:
            return Deny("the values make the request too large", 413, "request_too_large")


def _wrong(text: str) -> Deny:
    return Deny(text, 400, "invalid_template")


class _Filling:
    """Of one template, by one client."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._texts: dict[str, str] = {}
        self._left = _MAX_FILLED

    def filled(self, value: Any) -> Any:
        """Raises OverflowError."""
        if isinstance(value, str):
            whole = _VARIABLE.fullmatch(value)
            if whole is None:
                return _VARIABLE.sub(lambda found: self._text(found[1]), value)
            self._text(whole[1])
            return self._values[whole[1]]
        if isinstance(value, dict):
            return {name: self.filled(each) for name, each in value.items()}
        return [self.filled(each) for each in value] if isinstance(value, list) else value

    def _text(self, name: str) -> str:
        text = self._texts.get(name)
        if text is None:
            value = self._values[name]
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            self._texts[name] = text
        self._left -= len(text)
        if self._left < 0:
            raise OverflowError
        return text


def _named_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return _VARIABLE.findall(value)
    if isinstance(value, dict):
        value = list(value.values())
    return [name for each in value for name in _named_in(each)] if isinstance(value, list) else []
