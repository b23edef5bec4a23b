"""Straight-through quantization of a network."""
