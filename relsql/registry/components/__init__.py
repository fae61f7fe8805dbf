"""ONNX components of stored models: read and checked before onnxruntime runs them."""
