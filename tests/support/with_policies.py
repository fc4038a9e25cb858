"""``extproc`` with the policies that tests register."""

from __future__ import annotations

import sys

from extproc import policy
from extproc.cli import main
from tests.policy import policies

for kind in (policies.marker, policies.words, policies.service):
    policy.KINDS[kind.__name__] = kind

if __name__ == "__main__":
    sys.exit(main())
