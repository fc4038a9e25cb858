"""References to secrets in a route's text, and the values behind them, which never show.

``${NAME}`` is an environment variable, read once; ``${file:/path}`` is a file's text without its last line end, read
again when the file changes.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Mapping

from .permitted import EVERYTHING, Permitted

log = logging.getLogger(__name__)

MASK = "***"
MAX_FILE_BYTES = 64 * 1024
"""A credential's file is no larger than this."""

_REFERENCE = re.compile(r"\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class NotReady(Exception):
    """The credential is being fetched, or could not be had: the request cannot be sent now, and can be soon."""


class Unresolvable(Exception):
    """A reference that leads nowhere, or to what no credential can be. The message never holds a value.

    ``transient``: the next attempt may go well, because it is about a file.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Secret:
    """Text that shows only through ``reveal``: neither in ``repr`` nor in ``str``, a format or a log line."""

    __slots__ = ("_parts", "_plain", "_referred")

    def __init__(self, *parts: str | SecretFile, referred: tuple[str | SecretFile, ...] = ()) -> None:
        self._parts = parts
        self._referred = referred
        self._plain = None if any(isinstance(part, SecretFile) for part in parts) else "".join(map(str, parts))

    def referred(self) -> list[str]:
        """Those parts, as they are now, that came from elsewhere: of ``Bearer ${KEY}`` the key alone."""
        return [part if isinstance(part, str) else part.read() for part in self._referred]

    def reveal(self) -> str:
        """The text as it is now."""
        if self._plain is not None:
            return self._plain
        return "".join(part if isinstance(part, str) else part.read() for part in self._parts)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reveal() == other.reveal()

    __hash__ = None  # type: ignore[assignment]  # a file's text changes

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")


class SecretFile:
    """The text of a file, read anew when the file has changed. What was read last stays in force while the file is away
    or unfit, as happens for a moment when it is being replaced."""

    __slots__ = ("_lines", "_seen", "_text", "path")

    def __init__(self, path: str, *, lines: bool = False) -> None:
        self.path = path
        self._lines = lines
        self._seen = self._stamp()
        self._text = self._load()

    def read(self) -> str:
        """The file's text, by a look at its time of change."""
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._text = self._load()
                self._seen = stamp
        except Unresolvable as error:
            log.warning("kept the last good credential: %s", error)
        return self._text

    def __repr__(self) -> str:
        return f"SecretFile({self.path!r})"

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = os.stat(self.path)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if not stat.S_ISREG(found.st_mode):
            # A pipe would wait for a writer for ever.
            raise Unresolvable(f"file {self.path!r}: not a regular file", transient=True)
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _load(self) -> str:
        try:
            with open(self.path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if len(data) > MAX_FILE_BYTES:
            raise Unresolvable(f"file {self.path} is larger than {MAX_FILE_BYTES} bytes", transient=True)
        try:
            text = data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Unresolvable(f"file {self.path} is not UTF-8 text", transient=True) from None
        try:
            return sound(text, f"file {self.path}", lines=self._lines)
        except Unresolvable as error:
            raise Unresolvable(str(error), transient=True) from None

    def _unreadable(self, error: Exception) -> Unresolvable:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        return Unresolvable(f"file {self.path!r}: {reason}", transient=True)


def sound(text: str, what: str, *, lines: bool = False) -> str:
    """*text*, if it may stand in a header, or with *lines* if there is any. Raises Unresolvable, which names *what* and
    never the text."""
    if not text:
        raise Unresolvable(f"{what} is empty")
    if not lines and _CONTROL.search(text):
        raise Unresolvable(f"{what} holds a line break or another control character")
    return text


def resolve(text: str, environ: Mapping[str, str], *, lines: bool = False, permitted: Permitted = EVERYTHING) -> Secret:
    """*text* with every ``${NAME}`` and ``${file:/path}`` in it resolved; *permitted* says which may be. Raises
    Unresolvable. *lines*: it is a document of its own, not a header's value, and may hold line breaks.

    What a malformed reference holds is not repeated: it may be the secret itself, written in the wrong place.
    """
    parts: list[str | SecretFile] = []
    referred: list[str | SecretFile] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        referred.append(_lookup(match, environ, lines, permitted))
        parts += (text[end : match.start()], referred[-1])
        end = match.end()
    parts.append(text[end:])
    kept = [part for part in parts if part != ""]
    if not kept:
        raise Unresolvable("the value is empty")
    for part in kept:
        if isinstance(part, str):
            sound(part, "the value", lines=lines)
    return Secret(*kept, referred=tuple(referred))


def permit(name: str, permitted: Permitted) -> None:
    """Raise Unresolvable unless the variable or the file *name* may be read."""
    if name not in permitted:
        what = "file" if name.startswith("/") else "environment variable"
        raise Unresolvable(f"{what} {name} may not be named by a route: see --secrets (EXTPROC_SECRETS)")


def _lookup(match: re.Match[str], environ: Mapping[str, str], lines: bool, permitted: Permitted) -> str | SecretFile:
    name: str = match[1]
    if not match[0].endswith("}"):
        raise Unresolvable("a `${` is not closed by a `}`")
    if name.startswith("file:/"):
        permit(name.removeprefix("file:"), permitted)
        return SecretFile(name.removeprefix("file:"), lines=lines)
    if not _NAME.match(name):
        raise Unresolvable("a reference must be ${NAME} of an environment variable, or ${file:/absolute/path}")
    permit(name, permitted)
    value = environ.get(name)
    if value is None:
        raise Unresolvable(f"environment variable {name} is not set")
    return sound(value, f"environment variable {name}", lines=lines)
