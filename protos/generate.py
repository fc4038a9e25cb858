"""Generates the stubs in ``extproc/envoy_api/`` from the protos beside this file. ``make protos`` runs it.

The stubs are flat modules of one package of ours: other packages on PyPI install a top-level ``envoy``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "extproc" / "envoy_api"
IMPORT = re.compile(r"^from (?:envoy|grpc)\.[\w.]+ import (\w+_pb2) as (\w+)$", re.MULTILINE)


def main() -> None:
    well_known = resources.files("grpc_tools").joinpath("_proto")
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as out:
        command = ["-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
        subprocess.run([sys.executable, *command, *files], check=True)
        shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir()
        (TARGET / "__init__.py").write_text('"""Stubs of Envoy\'s and gRPC\'s protos: generated, see protos/README.md."""\n')
        for made in Path(out).rglob("*_pb2.py*"):
            text = IMPORT.sub(r"from . import \1 as \2", made.read_text("utf-8"))
            (TARGET / made.name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
