"""The accuracy table: every method on every task, on the same splits: `python -m benchmarks.accuracy`."""
