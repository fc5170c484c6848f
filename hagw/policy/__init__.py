"""What to do with one flow, and why."""
