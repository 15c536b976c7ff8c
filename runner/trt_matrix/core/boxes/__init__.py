"""Outputs → boxes: what was lost, brought or moved, and average precision."""
