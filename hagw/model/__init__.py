"""Frozen values that every other package speaks in; imports nothing of hagw but errors."""
