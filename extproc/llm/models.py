"""A model, as a gateway tells its clients of it."""

from __future__ import annotations

from ..frozen import Frozen


class Model(Frozen):
    """``id`` is what clients write. ``created`` is Unix seconds, 0 where it is not known."""

    id: str
    name: str
    owner: str
    created: int = 0
