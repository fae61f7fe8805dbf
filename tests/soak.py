"""Test that scoring does not leak memory: `python -m tests.soak` makes 20,000 calls, then 300 attaches and detaches.

After every 50 calls two numbers are read: the heap in use, and the resident memory of the process. The process starts
again with PYTHONMALLOC=malloc and Arrow's system pool, so that the heap has what DuckDB, onnxruntime, Python and Arrow
keep. Free memory is no leak: before each reading it is given back to the system, as far as whole pages are free.

A line is fitted to the second half of the readings by least squares. The slope of the heap must be below 100 bytes a
call by two standard errors: 'not shown' means that more --calls are needed. The slope of resident memory, whose error
is larger, must be below 100 bytes.

DuckDB keeps up to 32,768 dead entries in each of its eviction queues (docs/decisions/0017-memory.md), so the
measurement starts when the queues that calls use are full. A model keeps up to 512 MiB of texts, which no run of this
length would reach: here it keeps 1 MiB, and those are full too when the measurement starts.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

import relsql
from tests.shop import create_shop, train_quickly
from udfs import scorer

MAX_SLOPE_BYTES = 100
FULL_QUEUE = 32_768
"""Number of entries at which DuckDB starts to remove dead ones."""

WARM_UP_CALLS = 4_000
"""After this many calls, the new texts among them have reached the limit of texts."""

MAX_TEXT_BYTES = 2**20

PAGE_BYTES = 4096
ONE_HEAP = {"PYTHONMALLOC": "malloc", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""With these variables, Python and Arrow allocate from the heap of the C library, as everything else does."""


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


class _Mallinfo(ctypes.Structure):
    """What glibc says of its heap: `struct mallinfo2`, in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for names in (("arena", "ordblks", "smblks", "hblks", "hblkhd"), ("usmblks", "fsmblks", "uordblks", "fordblks"))
        for name in names
    ] + [("keepcost", ctypes.c_size_t)]


def heap_bytes() -> int:
    """Bytes of the heap in use; garbage is collected before, and free pages go back to the system."""
    gc.collect()
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc_trim(0)
    libc.mallinfo2.restype = _Mallinfo
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope and its standard error, both in bytes a call."""

    value: float
    error: float


def slope_of(numbers: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Slope:
    """The slope by least squares; readings next to each other are alike, so that they count as fewer in the error.

    With an autocorrelation r of the residuals, n readings are worth n (1 - r) / (1 + r) independent ones.

    Args:
        numbers: float64 [readings], calls before each reading.
        values: float64 [readings], bytes.
    """
    value, start = np.polyfit(numbers, values, 1)
    rest = values - (value * numbers + start)
    spread = float(rest @ rest)
    alike = float(np.clip(rest[1:] @ rest[:-1] / spread, 0.0, 0.999)) if spread else 0.0
    worth = max(3.0, len(numbers) * (1 - alike) / (1 + alike))
    error = np.sqrt(spread / len(numbers) / (worth - 2)) / numbers.std()
    return Slope(float(value), float(error))


@dataclass(frozen=True, slots=True)
class Growth:
    """Slopes over the second half of the readings."""

    heap: Slope
    resident: Slope

    def verdict(self) -> str:
        """`met`, `not met`, or `not shown` if the error of the heap's slope is too large to tell."""
        if self.heap.value - 2 * self.heap.error > MAX_SLOPE_BYTES or self.resident.value > MAX_SLOPE_BYTES:
            return "not met"
        return "met" if self.heap.value + 2 * self.heap.error <= MAX_SLOPE_BYTES else "not shown"


def measure_growth(call: Callable[[int], object], calls: int, every: int) -> Growth:
    """Make `calls` calls, with a reading after every `every` of them."""
    readings = []
    for i in range(calls):
        call(i)
        if i % every == 0:
            readings.append((i, heap_bytes(), resident_bytes()))
            if len(readings) % 20 == 1:
                _, heap, resident = readings[-1]
                print(f"  {i:>7,} calls  heap {heap / 1e6:7.2f} MB  resident {resident / 1e6:7.1f} MB", flush=True)
    numbers, heaps, residents = np.array(readings[len(readings) // 2 :], dtype=float).T
    return Growth(slope_of(numbers, heaps), slope_of(numbers, residents))


class MixedCalls:
    """One entity, a batch, a pinned version, another model, and a row with a new text that is rolled back, in turns."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con
        self._numbers = itertools.count()

    def __call__(self, i: int) -> None:
        """The next call."""
        kind = i % 10
        if kind == 0:
            self._con.execute("SELECT sum(score) FROM predict_churn_batch()").fetchall()
        elif kind == 1:
            self._con.execute("SELECT sum(predict_churn(customer_id)) FROM customers").fetchall()
        elif kind == 2:
            self._con.execute("SELECT predict_churn_v1(2)").fetchall()
        elif kind == 3:
            self._con.execute("SELECT predict_spend(3)").fetchall()
        elif kind < 7:
            self._with_new_text(next(self._numbers))
        else:
            self._con.execute("SELECT predict_churn(?)", [i % 60]).fetchall()

    def _with_new_text(self, number: int) -> None:
        self._con.execute("BEGIN")
        self._con.execute(
            "INSERT INTO orders VALUES (1000000 + ?, 1, 20.0, 'note ' || ?, TIMESTAMP '2022-12-21')", [number, number]
        )
        self._con.execute("SELECT predict_churn(1)").fetchall()
        self._con.execute("ROLLBACK")


def insertions(con: duckdb.DuckDBPyConnection) -> list[int]:
    """Total number of entries of each of DuckDB's eviction queues; empty before DuckDB 2.0, which does not show it."""
    try:
        query = "SELECT total_insertions FROM duckdb_eviction_queues() ORDER BY queue_index"
        return [count for (count,) in con.execute(query).fetchall()]
    except duckdb.CatalogException:
        return []


def fill_queues(con: duckdb.DuckDBPyConnection, most: int) -> None:
    """Fill all queues that calls use with dead entries: `most` times a query that does little else."""
    query = """SELECT max(n) FROM (
        SELECT row_number() OVER (PARTITION BY customer_id ORDER BY ordered_at) AS n
        FROM orders JOIN customers USING (customer_id) JOIN shops USING (shop_id))"""
    for i in range(most):
        con.execute(query).fetchall()
        if i % 2000 == 1999:
            counts = insertions(con)
            print(f"  {i + 1:,} queries: {resident_bytes() / 1e6:.1f} MB, queue insertions {counts}", flush=True)
            # A queue to which the query adds almost nothing is not used by calls.
            if counts and min(count for count in counts if count > i / 10) > FULL_QUEUE + 8192:
                return


def attach_and_detach(path: Path) -> Callable[[int], object]:
    """A call that opens the file, attaches, scores once, detaches and closes."""

    def call(_: int) -> None:
        with relsql.connect(path) as con:
            con.execute("SELECT predict_churn(1)").fetchall()
            relsql.detach(con)

    return call


def main(arguments: list[str] | None = None) -> int:
    """Run the soak test; returns 1 unless it is shown that no slope is too steep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--fill", type=int, default=40_000, help="queries that fill DuckDB's queues, at most")
    parser.add_argument("--attaches", type=int, default=300)
    options = parser.parse_args(arguments)
    growths = {}
    scorer.MAX_TEXT_BYTES = MAX_TEXT_BYTES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.duckdb"
        create_shop(path)
        with duckdb.connect(str(path)) as con:
            for name, task in (("churn", "customer-churn"), ("spend", "customer-spend"), ("churn", "customer-churn")):
                train_quickly(con, name, task, force=True)
        with relsql.connect(path) as con:
            relsql.attach(con, models=["churn@1"])
            calls = MixedCalls(con)
            fill_queues(con, options.fill)
            for i in range(WARM_UP_CALLS):
                calls(i)
            growths["calls"] = measure_growth(calls, options.calls, 50)
        again = attach_and_detach(path)
        for i in range(min(50, options.attaches)):
            again(i)
        growths["attaches"] = measure_growth(again, options.attaches, 5)
    for name, growth in growths.items():
        for what, slope in (("heap", growth.heap), ("resident", growth.resident)):
            print(
                f"DuckDB {duckdb.__version__}, {name}, {what}: {slope.value:,.0f} +- {slope.error:,.0f} bytes per call"
            )
        print(f"{name}: less than {MAX_SLOPE_BYTES} bytes per call: {growth.verdict()}")
    return int(any(growth.verdict() != "met" for growth in growths.values()))


if __name__ == "__main__":
    if ONE_HEAP.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "tests.soak", *sys.argv[1:]], os.environ | ONE_HEAP)
    sys.exit(main())
