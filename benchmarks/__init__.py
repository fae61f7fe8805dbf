"""Benchmarks of relsql: one folder and one command each for accuracy, speed and known truth, and the data they use."""
