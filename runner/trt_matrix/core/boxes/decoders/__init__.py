"""Styles of `decode:`: every module here adds its STYLES by being here (docs/reference/decoders.md)."""
