"""Which tensors and layers an int8 network loses its heads by, and which to keep in float; pure."""
