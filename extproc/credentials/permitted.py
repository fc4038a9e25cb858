"""Which secrets a route's text may name. Whoever writes routes is not always who holds the keys: in Envoy Gateway each
author of an HTTPRoute may write an annotation, and would otherwise be handed whatever this process can read."""

from __future__ import annotations

import fnmatch
import posixpath
import re

from ..frozen import Frozen

_LIKE_A_KEY = re.compile(
    r"(?:\A|[_.-])(?:api_?key|access_key(?:_id)?|key|token|bearer_token(?:_[a-z0-9]+)?|service_account|credentials?)"
    r"(?:\.[a-z]+)?\Z",
    re.IGNORECASE,
)
_A_PLACE = re.compile(r"(?:\A|_)(?:project(?:_id)?|region|location|resource|deployment|api_version)\Z", re.IGNORECASE)
"""What providers' paths are made of, which is no secret."""
_KEY_FOLDERS = ("/run/keys/", "/run/secrets/", "/var/run/secrets/")
_NEVER = ("/run/secrets/kubernetes.io/", "/var/run/secrets/kubernetes.io/", "/proc/", "/dev/", "/sys/")


class Permitted(Frozen):
    """*patterns*: names of environment variables and paths of files, with ``*`` for any characters but ``/``. ``None``:
    what looks like a key by its name or its folder."""

    patterns: tuple[str, ...] | None = None
    everything: bool = False

    @property
    def is_a_guess(self) -> bool:
        """Nobody has said which."""
        return self.patterns is None and not self.everything

    def __contains__(self, name: str) -> bool:
        """Whether the variable, or the file if *name* begins with a ``/``, may be read for a route."""
        if self.everything:
            return True
        if name.startswith("/") and (posixpath.normpath(name) != name or name.startswith("//")):
            return False
        if self.patterns is not None:
            return any(_matches(name, pattern) for pattern in self.patterns)
        if not name.startswith("/"):
            return bool(_LIKE_A_KEY.search(name) or _A_PLACE.search(name))
        if name.startswith(_NEVER):
            return False
        return name.startswith(_KEY_FOLDERS) or _LIKE_A_KEY.search(posixpath.basename(name)) is not None


EVERYTHING = Permitted(everything=True)
"""For a caller that reads its own route."""
NOTHING = Permitted(())


def permitted(text: str) -> Permitted:
    """*text* is the patterns, separated by commas; empty for what looks like a key."""
    patterns = tuple(part for each in text.split(",") if (part := each.strip()))
    return Permitted(patterns or None)


def _matches(name: str, pattern: str) -> bool:
    """Part by part: a ``*`` does not reach into a folder."""
    names, parts = name.split("/"), pattern.split("/")
    return len(names) == len(parts) and all(map(fnmatch.fnmatchcase, names, parts))
