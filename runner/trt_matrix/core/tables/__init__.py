"""Calibration tables: what they are, TensorRT's cache, how they differ."""
