"""Whether what matrix.yaml refers to is there and fits together, before anything starts."""
