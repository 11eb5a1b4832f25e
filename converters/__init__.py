"""The conversion pipeline, one step a file. Installed as el_larq.converters."""
