"""Size, operations and memory of a model, from its file alone."""
