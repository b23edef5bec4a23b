"""Solvers of sparse linear models: least squares plus a regularizer of `tensor`, step by step, in float64."""

from pithnet.solvers.admm import Admm
from pithnet.solvers.base import Need, Solver, StepSizeWarning, StepSolver
from pithnet.solvers.descent import GradientDescent, Subgradient
from pithnet.solvers.path import Path
from pithnet.solvers.problem import LeastSquares
from pithnet.solvers.proximal_gradient import Fista, Ista, ProjectedGradient
from pithnet.solvers.registry import SOLVERS, get_solver

__all__ = [
    "SOLVERS",
    "Admm",
    "Fista",
    "GradientDescent",
    "Ista",
    "LeastSquares",
    "Need",
    "Path",
    "ProjectedGradient",
    "Solver",
    "StepSizeWarning",
    "StepSolver",
    "Subgradient",
    "get_solver",
]
