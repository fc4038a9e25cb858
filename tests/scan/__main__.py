"""Which secret is seen where it does not belong: every byte that every upstream received, all that clients were told,
and what the sidecar and Envoy say of themselves. Under retries, failover, mirroring, and many clients at once.

python -m tests.scan: a table; status 1 if a secret was seen where it must not be.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.envoy.test_credential_scan import CLIENT, KEYS, load, running


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as world:
        replies = load(world)
        leaks = world.leaks()
        told = b"".join(reply.body + repr(reply.headers).encode() for reply in replies)
        elsewhere = {"what clients were told": told, **world.everything_else()}
        print(f"{'where':26} {'requests':>9} {'bytes':>10}  secrets of others")
        for name, upstream in world.upstreams.items():
            seen = [leak for leak in leaks if leak.endswith(f" at {name}")]
            print(f"{name:26} {len(upstream.received):9} {len(upstream.raw):10}  {', '.join(seen) or 'none'}")
        for where, text in elsewhere.items():
            seen = [secret for secret in (*KEYS.values(), *CLIENT.values()) if secret.encode() in text]
            leaks += seen
            print(f"{where:26} {'':9} {len(text):10}  {', '.join(seen) or 'none'}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
