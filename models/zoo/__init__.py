"""The networks of Larq Zoo, exactly as its published weights need them, and their registry. Installed as el_larq.models.zoo."""
