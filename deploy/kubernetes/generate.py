"""Writes socket/envoy.yaml, and the same for the Helm chart: the reference configuration (../envoy.yaml) as the pod
needs it. Run it after a change.

The text is kept, comments and all; each line that must differ is replaced, and it is an error if one is not found.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
TARGETS = (HERE / "socket" / "envoy.yaml", HERE.parent / "helm" / "extproc" / "files" / "envoy.yaml")
CHANGES = [
    # A pod's port is for the cluster; who may reach it is the NetworkPolicy's to say.
    ("{address: 127.0.0.1, port_value: 10000}", "{address: 0.0.0.0, port_value: 10000}"),
    ("{socket_address: {address: 127.0.0.1, port_value: 50051}}", "{pipe: {path: /run/extproc/extproc.sock}}"),
    # Keys in files of the Secret: rotated without a restart.
    ("${OPENAI_API_KEY}", "${file:/run/keys/OPENAI_API_KEY}"),
    ("${ANTHROPIC_API_KEY}", "${file:/run/keys/ANTHROPIC_API_KEY}"),
]
HEAD = "# Written by deploy/kubernetes/generate.py: change deploy/envoy.yaml, or make this file your own.\n#\n"


def text() -> str:
    """What they are to hold. Raises ValueError if the reference has changed beyond what is known here."""
    made = (HERE.parent / "envoy.yaml").read_text("utf-8")
    for old, new in CHANGES:
        if old not in made:
            raise ValueError(f"not in deploy/envoy.yaml: {old}")
        made = made.replace(old, new)
    return HEAD + made


if __name__ == "__main__":
    for target in TARGETS:
        target.write_text(text(), "utf-8")
