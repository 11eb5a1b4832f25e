"""The rules of the audit, as data: one function each, listed in order in `rule_registry`. Does not import TensorFlow."""
