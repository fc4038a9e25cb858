"""The router's stream that translates: what can be wrong with where its keys go."""

from __future__ import annotations

import pytest

from extproc.reference import config as envoy_config
from tests.check.edits_one_stream import ONE_STREAM_EDITS, Edit
from tests.check.judged import found_in


@pytest.mark.parametrize(("code", "edit"), ONE_STREAM_EDITS)
def test_an_edit_gives_its_finding_and_no_other(code: str, edit: Edit) -> None:
    config = envoy_config.reference()
    edit(config)
    assert set(found_in(config)) - {"route-unnamed"} == ({code} - {"", "route-unnamed"})
    assert code != "route-unnamed" or "route-unnamed" in found_in(config)
