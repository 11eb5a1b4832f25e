"""Checks whether this machine has what each part of the toolchain needs."""
