"""A calibration table → an explicit Q/DQ network."""
