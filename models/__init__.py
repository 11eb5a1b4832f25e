"""Networks, one family per file, and their registry. Installed as el_larq.models."""
