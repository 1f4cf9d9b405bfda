"""The command line: each command is a thin call of the Python function of the same name."""
