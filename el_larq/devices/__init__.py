"""Measures .tflite models on this machine, over ssh and on Android devices."""
