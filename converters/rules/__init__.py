"""The rules of the audit, as data: one function each, listed in order in `registry`. Does not import TensorFlow."""
