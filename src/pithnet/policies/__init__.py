"""Amounts for each layer: what a budget of bits is best spent on."""

from pithnet.policies.bits import allocate_bits, divergence, sensitivity
from pithnet.policies.knapsack import cheapest_choices

__all__ = ["allocate_bits", "cheapest_choices", "divergence", "sensitivity"]
