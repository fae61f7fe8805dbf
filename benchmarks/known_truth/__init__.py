"""Generated databases whose best forecast is known: `python -m benchmarks.known_truth`."""
