"""The command line: one file per command, which only handles arguments and prints results."""
