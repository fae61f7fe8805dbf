"""ONNX components of stored models: read and checked before onnxruntime runs them, and stopped if they take too long."""
