"""The forward of a network as a graph, and what is inserted into it or folded in it."""
