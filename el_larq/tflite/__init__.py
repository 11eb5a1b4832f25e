"""What a .tflite for Larq Compute Engine says: everything that this project knows of the format and its operators, in one place.

`reader` makes plain data of a file, `operators`, `macs` and `types` say what an operator is and computes, `arena` plans memory,
`interpreter` and `limited_interpreter` run a file. All but the interpreters work without TensorFlow and LCE.
"""
