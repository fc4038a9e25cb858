"""The table: every client's API by every upstream's, feature by feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from .features import BY_NAME
from .judge import Gateway, Judge, Judgement
from .offline import Offline
from .sides import MODELS, AskedSide, AskingSide

APIS = tuple(MODELS)
"""Those between which everything is translated. Hosts of one of them are left out: they say the same."""


class Cell(Struct, frozen=True):
    """What became of *feature* between *client* and *upstream*."""

    client: str
    upstream: str
    feature: str
    finding: Judgement


def rows(
    gateway: Callable[[str], Gateway] = Offline,
    clients: Iterable[str] = APIS,
    upstreams: Iterable[str] = APIS,
    features: Iterable[str] = tuple(BY_NAME),
    models: Mapping[str, tuple[str, str]] = MODELS,
) -> Iterator[Cell]:
    """Judge each feature of each pair. *gateway* makes what stands before the upstreams, for clients of a dialect."""
    judges, upstreams = {client: Judge(gateway(client)) for client in clients}, list(upstreams)
    for name in features:
        feature = BY_NAME[name]
        for client, each in judges.items():
            for upstream in upstreams:
                asked = AskingSide(client, models[upstream][feature.plain])
                yield Cell(client, upstream, name, each.judge(asked, AskedSide(upstream), feature))
