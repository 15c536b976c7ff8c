"""Which version, device or option an effect is named after, or what is confounded."""
