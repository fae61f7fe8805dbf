"""Rows of graph baselines: the tables as arrays, temporal sampling, and the training loop they share."""
