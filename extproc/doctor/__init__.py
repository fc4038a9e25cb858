"""``extproc doctor``: asks a running gateway, and says what is wrong and what to write."""

from __future__ import annotations

from .checks import Looked, Patient, examine
from .wire import NoAnswer, SeenAnswer, ask

__all__ = ["Looked", "NoAnswer", "Patient", "SeenAnswer", "ask", "examine"]
