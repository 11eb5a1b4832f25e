"""The conversion pipeline, one step per file. Installed as el_larq.converters."""
