"""The kernels, multiply-accumulates and parameters of a Keras model."""
