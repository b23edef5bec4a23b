"""Amounts for each layer: the best use of a budget of bits."""

from pithnet.policies.bits import allocate_bits, divergence, sensitivity
from pithnet.policies.knapsack import cheapest_choices

__all__ = ["allocate_bits", "cheapest_choices", "divergence", "sensitivity"]
