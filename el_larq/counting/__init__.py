"""What a Keras model computes and weighs: its kernels, multiply-accumulates and parameters."""
