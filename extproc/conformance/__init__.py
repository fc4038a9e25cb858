"""What becomes of each feature between each client's API and each upstream's: in this program, or in any gateway."""

from .judge import Gateway, Grade, Judgement
from .table import APIS, Cell, rows

__all__ = ["APIS", "Cell", "Gateway", "Grade", "Judgement", "rows"]
