"""Links carry real-valued features around a binary convolution. One per file; importing them does not import TensorFlow."""
