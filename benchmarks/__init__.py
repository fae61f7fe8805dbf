"""Benchmarks of relsql and their data: a folder and a command each for accuracy, speed, known truth and proposals."""
