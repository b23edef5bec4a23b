"""Channels really removed: which, under a budget, and the smaller network."""
