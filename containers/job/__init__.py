"""The program inside the environment: builds, calibrates, infers, times, compares.

Python 3.5 syntax; standard library, numpy and the engine only; imports nothing of `runner`.
"""
