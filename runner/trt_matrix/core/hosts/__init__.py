"""What a machine is and what can run there: drivers, GPUs, images."""
