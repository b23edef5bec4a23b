"""The passes that a recipe names, each as a value of `pithnet.passes.Pass`."""
