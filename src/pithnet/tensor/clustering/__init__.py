"""Weight sharing: few values for many numbers on a line."""
