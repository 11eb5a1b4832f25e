"""What a model weighs, computes and needs, from its file alone."""
