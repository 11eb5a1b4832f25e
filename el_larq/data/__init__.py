"""Data sets: embedded, from folders and prepared by TFDS; what they have in common, and their registry."""
