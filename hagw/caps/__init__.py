"""Data caps of lines: what counts, when a period begins, what is left, and what follows from it."""
