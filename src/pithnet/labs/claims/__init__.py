"""Statements of the field, each with a verdict, a reason and a small measurement."""
