"""Speed of scoring, training, text encoding and published models: `python -m benchmarks.speed`."""
