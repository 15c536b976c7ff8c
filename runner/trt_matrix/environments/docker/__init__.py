"""Containers: images found, completed and pulled; jobs run in them, here and on remote engines."""
