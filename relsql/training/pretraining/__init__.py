"""Pre-training across databases: weights that a training run on another database can start from."""
