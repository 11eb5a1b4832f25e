"""Quantization to 8 bits: scales, and what rounding to them costs. Pure NumPy; works without TensorFlow and LCE."""
