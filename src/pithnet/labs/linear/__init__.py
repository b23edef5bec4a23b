"""Sparse optimisation of a linear model."""
