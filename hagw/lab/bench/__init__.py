"""`lab bench`: how good hagw is, measured beside what one would use instead, and reported with the physical limit."""
