"""Writes the Python stubs of these protos into extproc/envoy_api/: ``make protos``.

The generated modules are moved from the top-level package ``envoy`` into ours: other packages install a top-level
``envoy`` too. No gRPC stub is generated: the server needs only the methods' names.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOOLS = "grpcio-tools==1.76.0"
"""Writes code for protobuf 6.31.1, the oldest that pyproject.toml allows: generated code refuses an older runtime."""
PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "extproc" / "envoy_api"
PACKAGE = "extproc.envoy_api"
_IMPORT = re.compile(r"^from (envoy|grpc)\.(?=.*_pb2)", re.MULTILINE)


def main() -> None:
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made")
        made.mkdir()
        # Of its own, because these tools demand an older protobuf than the sidecar may run with.
        venv.create(Path(folder, "venv"), with_pip=True)
        python = Path(folder, "venv", "bin", "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", TOOLS], check=True)
        outputs = [f"--python_out={made}", f"--pyi_out={made}"]
        subprocess.run([python, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *outputs, *files], check=True)
        _move(made)


def _move(made: Path) -> None:
    """Put what was *made* in place of what stands in TARGET."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for path in made.rglob("*_pb2.py*"):
        target = TARGET / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_IMPORT.sub(rf"from {PACKAGE}.\1.", path.read_text("utf-8")), "utf-8")
    for folder in [path for path in TARGET.rglob("*") if path.is_dir()]:
        (folder / "__init__.py").write_text("", "utf-8")
    (TARGET / "__init__.py").write_text('"""Generated from protos/: ``make protos``."""\n', "utf-8")


if __name__ == "__main__":
    sys.exit(main())
