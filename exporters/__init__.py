"""Export of trained models: ONNX components, checked against torch, and plain SQL."""
