"""A stored run → its judgement and its report; needs no engine."""
