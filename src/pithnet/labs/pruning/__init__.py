"""What magnitude pruning costs a network."""
