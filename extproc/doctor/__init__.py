"""``extproc doctor``: asks a running gateway, and says what is wrong and what to write."""

from __future__ import annotations

from .checks import Looked, Patient, examine

__all__ = ["Looked", "Patient", "examine"]
