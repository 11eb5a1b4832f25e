"""The version, alone in a file that setuptools reads without importing anything else."""

VERSION = "0.1.0"
