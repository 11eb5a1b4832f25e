"""Networks, one family a file, and their registry. Installed as el_larq.models."""
