"""A judgement → one HTML page, and what machines read."""
