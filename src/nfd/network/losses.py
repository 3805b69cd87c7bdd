"""The losses of one sample and their derivatives chi by the outputs: one record each.

A new loss is one more record of ``LOSSES``. Tensors are used through their methods only, so that closed
forms load no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A loss of outputs f (..., batch, C) and targets of the same shape, one-hot or real values.

    ``value_and_chi(f, targets)``: per-sample loss (..., batch) and chi = d loss / d f, as f, of tensors;
    ``chi(f, targets)``: the latter of numpy arrays.
    """

    name: str
    value_and_chi: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    chi: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _squared_error(f: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Half the squared error summed over the outputs."""
    chi = f - targets
    return 0.5 * chi.square().sum(-1), chi


def _cross_entropy(f: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The negative log-likelihood of the softmax."""
    log_p = f.log_softmax(-1)
    return -(log_p * targets).sum(-1), log_p.exp() - targets


def _cross_entropy_chi(f: np.ndarray, targets: np.ndarray) -> np.ndarray:
    weights = np.exp(f - f.max(axis=-1, keepdims=True))
    chi: np.ndarray = weights / weights.sum(axis=-1, keepdims=True) - targets
    return chi


_RECORDS = (
    Loss("mse", _squared_error, lambda f, targets: f - targets),
    Loss("cross_entropy", _cross_entropy, _cross_entropy_chi),
)

LOSSES: Mapping[str, Loss] = {record.name: record for record in _RECORDS}
