"""The .tflite format of Larq Compute Engine: all code that depends on the format and its operators.

`reader` parses a file into plain data, `operators`, `macs` and `types` describe operators and count their work, `arena` plans
memory, `interpreter` and `limited_interpreter` run a file. All but the interpreters work without TensorFlow and LCE.
"""
