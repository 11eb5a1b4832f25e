"""Checks of what this machine has and what is missing for each part of the toolchain."""
