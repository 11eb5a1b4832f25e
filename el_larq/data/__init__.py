"""Data sets: the two embedded ones, what is common to all, and their registry."""
