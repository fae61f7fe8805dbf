"""Scoring inside DuckDB: Arrow in, Arrow out, on onnxruntime. Loads neither torch nor transformers."""
