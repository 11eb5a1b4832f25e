"""Keras models from files that may come from a stranger. `load` is the entry; the other modules are its checks."""
