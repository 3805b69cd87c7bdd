"""Neural Feature Dynamics: finite residual networks, their infinite limit, and the claims about both.

The public names are loaded on first use, so that a figure or a claim never pays for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nfd import closed_form
    from nfd.limit.problem import LimitProblem
    from nfd.limit.simulate import simulate_dense, simulate_limit
    from nfd.limit.trajectory import LimitTrajectory
    from nfd.network.architecture import Architecture
    from nfd.network.parametrization import PARAMETRIZATIONS
    from nfd.training.batches import TrainingData
    from nfd.training.train import TrainingResult, train
    from nfd.training.trainer import Member

# The module each name is found in; closed_form is a module itself, which importing it puts here.
_HOMES = {
    "PARAMETRIZATIONS": "nfd.network.parametrization",
    "Architecture": "nfd.network.architecture",
    "LimitProblem": "nfd.limit.problem",
    "LimitTrajectory": "nfd.limit.trajectory",
    "Member": "nfd.training.trainer",
    "TrainingData": "nfd.training.batches",
    "TrainingResult": "nfd.training.train",
    "simulate_dense": "nfd.limit.simulate",
    "simulate_limit": "nfd.limit.simulate",
    "train": "nfd.training.train",
}

__all__ = [
    "PARAMETRIZATIONS",
    "Architecture",
    "LimitProblem",
    "LimitTrajectory",
    "Member",
    "TrainingData",
    "TrainingResult",
    "closed_form",
    "simulate_dense",
    "simulate_limit",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "closed_form":
        return import_module("nfd.closed_form")
    if name not in _HOMES:
        raise AttributeError(f"module 'nfd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
