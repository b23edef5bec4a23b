"""Quantization without training: what repairs a network after rounding."""
