"""The command line: one file a command, nothing but argument handling and printing."""
