"""`trt-matrix migrate`: calibration caches to Q/DQ networks and back, told, checked and written whole."""
