"""What parsers and emitters of several dialects share."""
