"""Rounding that weighs what a weight's level costs in bits against what it does to a layer's outputs."""
