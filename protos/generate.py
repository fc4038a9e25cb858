"""Writes the Python stubs of these protos into extproc/envoy_api/: ``make protos``.

The generated modules are moved from the top-level package ``envoy`` into ours: other packages install a top-level
``envoy`` too. No gRPC stub is generated; the server needs only the method's name.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "extproc" / "envoy_api"
PACKAGE = "extproc.envoy_api"
_IMPORT = re.compile(r"^from envoy\.", re.MULTILINE)


def main(target: Path = TARGET) -> int:
    """Generate into *target*, in place of what stands there. Returns protoc's exit status."""
    well_known = Path(protoc.__file__).parent / "_proto"
    files = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    outputs = [f"--python_out={target}", f"--pyi_out={target}"]
    status = int(protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *files]))
    for path in [*target.rglob("*.py"), *target.rglob("*.pyi")]:
        path.write_text(_IMPORT.sub(f"from {PACKAGE}.envoy.", path.read_text("utf-8")), "utf-8")
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text("", "utf-8")
    (target / "__init__.py").write_text('"""Generated from protos/: ``make protos``."""\n', "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
