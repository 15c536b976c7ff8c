"""Networks that come quantised: their float network, and the ranges of their scales."""
