"""Quantization without training: the repairs of a network after rounding."""
