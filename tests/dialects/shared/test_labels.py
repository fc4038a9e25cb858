from __future__ import annotations

import json
from typing import Any

from extproc.dialects.shared.labels import SealLabels
from extproc.llm import marker

SEALED = marker.sealed(marker.Seal("x-v1", "S"))


class _One(SealLabels):
    needles: tuple[bytes, ...] = (b"seal",)

    def in_whole(self, message: dict[str, Any]) -> bool:
        return self.label(message, "seal", encrypts=False)

    def in_event(self, message: dict[str, Any]) -> bool:
        return self.label(message, "data_seal", encrypts=True)


def test_a_seal_is_labelled_once() -> None:
    labels = _One("x-v1", 99)
    whole = labels.whole(b'{"seal": "S"}')
    assert json.loads(whole) == {"seal": SEALED}
    assert labels.whole(whole) == whole and labels.whole(b'{"seal":  7}') == b'{"seal":  7}'
    assert labels.whole(b"seal") == b"seal" and labels.whole(b"[ ]") == b"[ ]"


def test_events_are_labelled_wherever_they_are_cut() -> None:
    wire = b'event: a\ndata: {"data_seal": "D"}\n\n: seal\n\ndata: {"other":  1}\n\ndata: half a seal'
    outs = set()
    for step in (1, 5, 99):
        labels = _One("x-v1", 99)
        out = b"".join(labels.feed(wire[at : at + step]) for at in range(0, len(wire), step)) + labels.end()
        outs.add(out)
    [out] = outs
    assert json.loads(out.split(b"\n")[1][6:]) == {"data_seal": marker.sealed(marker.Seal("x-v1", encrypted="D"))}
    assert out.endswith(b': seal\n\ndata: {"other":  1}\n\ndata: half a seal')
