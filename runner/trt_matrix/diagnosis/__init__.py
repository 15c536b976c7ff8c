"""Diagnosing one network on the host: simulation by ONNX Runtime, image by image."""
