"""Detection of objects: boxes, anchors, and data sets of images with annotated boxes. Does not import TensorFlow."""
