"""The record of an exchange, and who reads it."""
