"""Score inside DuckDB with onnxruntime, from Arrow to Arrow. Neither torch nor transformers is imported."""
