"""Binarizers that Larq lacks, one a file. Importing this package registers them, so saved models load without custom_objects."""

from el_larq.quantizers.per_channel import PerChannel as PerChannel
