"""Rate-aware rounding of whole networks without labels and without training."""
