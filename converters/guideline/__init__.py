"""Quantization of real-valued networks to 8 bits after training: steps that are tried in order, and kept if they help."""
