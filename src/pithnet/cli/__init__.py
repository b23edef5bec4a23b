"""The terminal: arguments, error lines, exit codes, tables."""

from pithnet.cli.app import main

__all__ = ["main"]
