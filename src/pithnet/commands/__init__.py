"""What the command line does: each command from its settings to a finished folder or file."""
