"""The soak test tells a call that keeps memory from one that does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import ONE_HEAP, Growth, Slope

ROOT = Path(__file__).parent.parent

MEASURED = """
import json
from tests.soak import measure_growth

def slopes(call):
    growth = measure_growth(call, 4000, 100)
    return growth.heap.value, growth.resident.value, growth.verdict()

kept = []
print(json.dumps([slopes(lambda _: kept.append(b"x" * 10_000)), slopes(lambda _: bytearray(10_000))]))
"""
"""Prints the slopes of a call that keeps 10,000 bytes and of one that keeps nothing."""


def test_the_slopes_are_those_of_a_call_that_keeps_memory() -> None:
    # In a process of its own, as the soak test is: the heap of the tests' process has free memory, and much else.
    result = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, cwd=ROOT, env=os.environ | ONE_HEAP
    )
    assert result.returncode == 0, result.stderr
    kept, freed = json.loads(result.stdout.splitlines()[-1])
    assert 9_900 < kept[0] < 10_200 and kept[1] > 5_000 and kept[2] == "not met"
    assert abs(freed[0]) < 20 and abs(freed[1]) < 1_000 and freed[2] == "met"


@pytest.mark.parametrize(
    ("heap", "resident", "verdict"),
    [
        (Slope(50, 20), Slope(0, 200), "met"),
        (Slope(50, 30), Slope(0, 200), "not shown"),
        (Slope(200, 60), Slope(0, 200), "not shown"),
        (Slope(200, 40), Slope(0, 200), "not met"),
        (Slope(0, 20), Slope(101, 200), "not met"),
    ],
)
def test_memory_is_said_to_be_kept_or_not_only_where_the_error_allows_it(
    heap: Slope, resident: Slope, verdict: str
) -> None:
    assert Growth(heap, resident).verdict() == verdict
