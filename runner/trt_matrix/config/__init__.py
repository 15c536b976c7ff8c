"""matrix.yaml: read, typed, validated; its problems told with their lines."""
