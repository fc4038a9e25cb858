"""Cutting bytes into messages and back: no JSON, no meaning."""
