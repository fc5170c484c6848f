"""What is particular to each kind of access line."""
