"""Loads Keras models from untrusted files. `load` is the entry point; the other modules are its checks."""
