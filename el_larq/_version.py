"""The version, in a file of its own that setuptools can read without importing anything else."""

VERSION = "0.1.0"
