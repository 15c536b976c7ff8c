"""Verdicts → whose fault it is, in sentences for a person."""
