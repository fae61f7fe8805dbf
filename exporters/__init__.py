"""Trained models to artefacts: ONNX components, checked against torch."""
