"""Every parser of what comes from outside, and whether any input ends it in another way than it says."""
