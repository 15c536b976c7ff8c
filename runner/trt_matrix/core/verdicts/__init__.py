"""Errors of all cells → verdicts: effects, noise, tests, the error budget, gates, latency."""
