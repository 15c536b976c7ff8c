"""Jobs carried to a machine without a network, and their answers carried back."""
