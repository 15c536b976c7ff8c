"""What somebody's own program wrote: raw floats, .npy, .npz; found, checked and read in blocks."""
