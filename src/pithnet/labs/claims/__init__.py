"""`lab claims`: statements of the field, each with a verdict, a reason and a small measurement."""

from pithnet.labs.claims.experiment import run

__all__ = ["run"]
