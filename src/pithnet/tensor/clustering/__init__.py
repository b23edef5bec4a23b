"""Few values for many numbers on a line."""
