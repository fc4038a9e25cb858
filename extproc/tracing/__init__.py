"""Spans of OpenTelemetry's conventions for generative AI: one of each exchange, or in an upstream filter of each
attempt, made and exported on a thread of their own."""
