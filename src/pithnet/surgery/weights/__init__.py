"""The compression that lives on a weight: holders, parametrizations, and how they come and go."""
