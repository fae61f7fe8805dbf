"""Trained models as ONNX components, written operator by operator and checked against torch."""
