"""From TensorRT's calibration caches to Q/DQ networks and back, with what became of every tensor; pure."""
