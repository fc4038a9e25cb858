"""A whole gateway from few words: ``extproc.yaml`` (``file.py``), laid out (``layout.py``) as Envoy's configuration
(``envoy.py``)."""

from __future__ import annotations

from .file import FileError, GatewayFile, read, schema
from .layout import Layout, lay_out

__all__ = ["FileError", "GatewayFile", "Layout", "lay_out", "read", "schema"]
