"""Everything that the numbers decide: pure, no input or output."""
