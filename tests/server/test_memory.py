"""What a process sets before it serves."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from extproc.server import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytes(2_000_000)
        bytes(3_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""


def said(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", FAULTS + code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_the_memory_of_large_messages_is_kept() -> None:
    first, then = said("memory.settle(); print(faults(), faults())")
    # 2 MB are 488 pages; what was faulted in by the first round serves the second.
    assert then < 50 < first


def test_what_was_loaded_is_not_looked_through_for_cycles() -> None:
    (frozen,) = said("memory.settle(); import gc; print(gc.get_freeze_count())")
    assert frozen > 10_000


def test_an_exchange_leaves_nothing_for_the_collector() -> None:
    code = """
import gc
from extproc import Translation

def exchange():
    translation = Translation(client="anthropic_messages", upstream="openai_chat")
    translation.request(b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}')
    translation.response_body(b"", end_of_stream=True)
    translation.release()

exchange()
gc.collect()
gc.disable()
exchange()
print(gc.collect())
"""
    assert said(code) == [0]
