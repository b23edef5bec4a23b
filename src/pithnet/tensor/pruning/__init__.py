"""Which weights go: scores, masks, thresholds, shares per layer."""
