"""Published methods for binarizing a convolution, one file per paper, and their registry."""
