"""Builds the package; pyproject.toml says the rest.

With EXTPROC_COMPILE=1 the modules that handle each message are compiled by mypyc: the same sources, half the CPU. That
needs a C compiler and Python's headers. What is not compiled Python runs as it is.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
HOT = (
    "extproc/headers.py",
    "extproc/credentials/masking.py",
    "extproc/dialects/**/*.py",
    "extproc/exchange/*.py",
    "extproc/framing/*.py",
    "extproc/llm/*.py",
    "extproc/route/cache.py",
    "extproc/route/catalogue.py",
    "extproc/route/merge.py",
    "extproc/route/route.py",
    "extproc/server/h2/*.py",
    "extproc/server/memory.py",
    "extproc/server/service.py",
    "extproc/translation/*.py",
)
"""What runs for every message."""
AS_IT_IS = {
    "extproc/dialects/base.py",
    "extproc/dialects/shared/embeds.py",
    "extproc/dialects/shared/unread.py",
    "extproc/exchange/attempts.py",
    "extproc/llm/embeddings.py",
    "extproc/server/h2/passing.py",
    "extproc/server/h2/shell.py",
    "extproc/server/h2/transport.py",
}
"""Of those, what a compiler cannot make better: declarations of values and protocols, what packages
derive from in files of their own, and what asyncio calls."""
OPTIONS = ["--config-file=", "--ignore-missing-imports"]
"""Types are checked elsewhere; what is optional may be missing here."""
BUILDING = {"build", "build_ext", "bdist_wheel"}


def hot() -> list[str]:
    """The modules to compile. A package's own file only names what is in it."""
    found = {str(path.relative_to(HERE)) for pattern in HOT for path in HERE.glob(pattern)}
    return sorted(path for path in found - AS_IT_IS if not path.endswith("__init__.py"))


def main() -> None:
    if os.environ.get("EXTPROC_COMPILE") != "1":
        setup()
    elif BUILDING.isdisjoint(sys.argv):
        # A frontend asks first what is needed.
        project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
        setup(setup_requires=[*project["dependencies"], *project["optional-dependencies"]["compile"]])
    else:
        from mypyc.build import mypycify

        modules = mypycify([*OPTIONS, *hot()], opt_level="2")
        for each in modules:
            # Of what the compiler writes nobody reads lines of C: without them it takes less time, memory and disk.
            each.extra_compile_args += ["-fvisibility=hidden", "-g0"]
        setup(ext_modules=modules)


if __name__ == "__main__":
    main()
