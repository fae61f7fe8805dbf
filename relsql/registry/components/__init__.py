"""ONNX components of stored models: read, checked before onnxruntime runs them, and stopped if they take too long."""
