"""Neural Feature Dynamics: finite residual networks, their infinite limit, and the claims about both.

The public names below are loaded on first use, so that a figure or a claim never pays for torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "PARAMETRIZATIONS": "parametrization",
    "Architecture": "resnet",
    "Member": "training",
    "train": "training",
    "TrainingResult": "training",
    "LimitProblem": "limit",
    "LimitTrajectory": "limit",
    "simulate_limit": "limit",
    "simulate_dense": "limit",
    "closed_form": None,
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nfd' has no attribute {name!r}")
    home = _HOME[name]
    return (
        import_module(f"nfd.{name}")
        if home is None
        else getattr(import_module(f"nfd.{home}"), name)
    )
