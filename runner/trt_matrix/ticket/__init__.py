"""What is attached to a support ticket: a run, its cells ready to be run again, nobody's names in it."""
