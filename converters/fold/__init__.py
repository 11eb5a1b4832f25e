"""Exact rewrites of an inference graph, one a file, and the step that applies them."""
