"""Is the calibration set the problem? Duplicates, preprocessing, ranges, sizes and numbers of images; pure."""
