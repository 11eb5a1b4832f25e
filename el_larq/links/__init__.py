"""Links: what carries real-valued features around a binary convolution. One link per file; importing them imports no TensorFlow."""
