"""Quantization of a .tflite to 8 bits: ranges from calibration, operators that compute with integers, and their verification."""
