"""Which secret is seen where it does not belong: every byte that every upstream received, all that clients were told,
and what the sidecar and Envoy say of themselves. In each placement, with each way to give a credential, under retries,
failover, mirroring, providers that repeat what they got, and many clients at once.

python -m tests.scan: a table; status 1 if a secret was seen where it must not be.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.envoy.test_credential_scan import CLIENT, KEYS, SIGNS, load, running
from tests.support.gateway import PLACEMENTS


def scanned(placement: str) -> int:
    """Print the table's rows of *placement*; how many secrets were seen where they must not be."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), placement=placement) as world:
        replies = load(world)
        leaks = world.leaks()
        told = b"".join(reply.body + repr(reply.headers).encode() for reply in replies)
        elsewhere = {"what clients were told": told, **world.everything_else()}
        for name, upstream in world.upstreams.items():
            seen = [leak for leak in leaks if leak.endswith(f" at {name}")]
            count, size = len(upstream.received), len(upstream.raw)
            print(f"{placement:12} {name:26} {count:9} {size:10}  {', '.join(seen) or 'none'}")
        for where, text in elsewhere.items():
            seen = [secret for secret in (*KEYS.values(), *CLIENT.values(), SIGNS) if secret.encode() in text]
            leaks += seen
            print(f"{placement:12} {where:26} {'':9} {len(text):10}  {', '.join(seen) or 'none'}", flush=True)
        return len(leaks)


def main() -> int:
    print(f"{'placement':12} {'where':26} {'requests':>9} {'bytes':>10}  secrets of others")
    return 1 if sum(map(scanned, PLACEMENTS)) else 0


if __name__ == "__main__":
    sys.exit(main())
