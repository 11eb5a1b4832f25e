"""Exact rewrites of an inference graph, one per file, and the step that applies them."""
