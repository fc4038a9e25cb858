"""Writes socket/envoy.yaml: the reference configuration (../envoy.yaml) as the pod needs it. Run it after a change.

The text is kept, comments and all; each line that must differ is replaced, and it is an error if one is not found.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "socket" / "envoy.yaml"
CHANGES = [
    # A pod's port is for the cluster; who may reach it is the NetworkPolicy's to say.
    ("{address: 127.0.0.1, port_value: 10000}", "{address: 0.0.0.0, port_value: 10000}"),
    ("{socket_address: {address: 127.0.0.1, port_value: 50051}}", "{pipe: {path: /run/extproc/extproc.sock}}"),
    # Keys in files of the Secret: rotated without a restart.
    ("${OPENAI_API_KEY}", "${file:/run/keys/OPENAI_API_KEY}"),
    ("${ANTHROPIC_API_KEY}", "${file:/run/keys/ANTHROPIC_API_KEY}"),
]
HEAD = "# Written by ../generate.py from deploy/envoy.yaml: change it there, or make this file your own.\n#\n"


def text() -> str:
    """What socket/envoy.yaml is to hold. Raises ValueError if the reference has changed beyond what is known here."""
    made = (HERE.parent / "envoy.yaml").read_text("utf-8")
    for old, new in CHANGES:
        if old not in made:
            raise ValueError(f"not in deploy/envoy.yaml: {old}")
        made = made.replace(old, new)
    return HEAD + made


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
