"""Benchmarks of relsql: accuracy and speed, one command each, results as JSON and as Markdown tables."""
