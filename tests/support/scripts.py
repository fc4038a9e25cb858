"""Scripts of the repository that belong to no package, as modules."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def script(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
