"""Where jobs run: one file a kind, and the only code that starts processes or speaks to Docker."""
