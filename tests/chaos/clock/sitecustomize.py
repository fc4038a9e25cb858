"""Moves the wall clock of every Python process that has this folder on its path: by the seconds, a double, in the file
that CHAOS_CLOCK names, whenever they change."""

from __future__ import annotations

import mmap
import os
import struct
import time

if path := os.environ.get("CHAOS_CLOCK"):
    with open(path, "rb") as file:
        ahead = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    true = time.time
    time.time = lambda: true() + struct.unpack("d", ahead)[0]
