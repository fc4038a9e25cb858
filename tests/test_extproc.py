"""What ``import extproc`` gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import extproc
from extproc.llm.losses import Loss
from extproc.translation.translation import Translation


def test_each_name_is_what_the_module_of_it_declares() -> None:
    found = {name: getattr(extproc, name) for name in extproc.__all__}
    assert found["Translation"] is Translation and found["Loss"] is Loss
    assert all(each.__name__ == name and each.__module__.startswith("extproc.") for name, each in found.items())
    assert set(extproc.__all__) <= set(dir(extproc))


def test_what_is_not_there_is_not_made_up() -> None:
    with pytest.raises(AttributeError, match="module 'extproc' has no attribute 'Translator'"):
        getattr(extproc, "Translator")  # noqa: B009
    with pytest.raises(ImportError):
        exec("from extproc import Translator")


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    script = (
        "import sys, extproc; before = 'extproc.translation' in sys.modules\n"
        "from extproc import *; print(before, Translation.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False extproc.translation.translation\n"
