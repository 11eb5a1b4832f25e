"""Published ways to binarize a convolution, one file a paper, and their registry."""
