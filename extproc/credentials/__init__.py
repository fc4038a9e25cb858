"""Whose key goes out: references to secrets, signatures, tokens that are fetched. The only I/O below ``server``."""
