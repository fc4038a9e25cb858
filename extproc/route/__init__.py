"""What the operator says of an exchange in Envoy's metadata: the face of this package."""

from __future__ import annotations

from .compile import compile_route
from .route import Route, Target
from .text import RouteError

__all__ = ["Route", "RouteError", "Target", "compile_route"]
