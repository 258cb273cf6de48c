"""A herd book on the command line: python -m herd COMMAND [ARGUMENTS]."""
