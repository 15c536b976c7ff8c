"""Runs one INT8 experiment over many engine versions and says whose fault an error is."""
