"""Sizes of scenes and of the digits in them, in pixels."""

SIZE = 320
"""Side of a scene in pixels."""

SIDES = {"small": (14.0, 26.0), "medium": (30.0, 56.0), "large": (64.0, 124.0)}
"""Size range → √(box area) in pixels; nothing lies between the ranges."""

AREAS = {"small": (0.0, 28.0**2), "medium": (28.0**2, 60.0**2), "large": (60.0**2, 320.0**2)}
"""Size range → box area in square pixels, for evaluation."""
