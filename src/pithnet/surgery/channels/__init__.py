"""Which channels of a network go together, and copies of the network without some of them."""
