"""The matrix products of a stack: of every member with its own features, and of members that see the same.

Members that see the same samples multiply them in one product with their weights side by side; with
thousands of pixels that is where most of the time goes. Large products in float32 on a CPU go to oneDNN,
one member at a time: it uses the widest vectors of every make of processor, where the BLAS that torch is
built with (MKL) takes half as wide ones on AMD's. Which way is taken depends on the shape of one member's
product only, so that a member's numbers do not depend on how many others there are.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Multiply-adds of one member from which a call for each member costs less than it gains.
LARGE = 2**22


def of_groups(x: Tensor, weights: Tensor, groups: tuple[int, ...]) -> Tensor:
    """``x[i] @ weights[m]^T`` for the ``groups[i]`` consecutive members m that see x[i].

    x (len(groups), batch, in), weights (members, out, in), contiguous; returns (members, batch, out).
    """
    members, out, _ = weights.shape
    h = weights.new_empty(members, x.shape[1], out)
    parts = zip(x, torch.split(weights, list(groups)), torch.split(h, list(groups)), strict=True)
    for samples, mine, found in parts:
        rows = mine.flatten(0, 1)
        if is_large(samples, out):
            product = _linear(samples, rows).view(len(samples), -1, out).transpose(0, 1)
        else:
            product = torch.mm(rows, samples.T).view(-1, out, len(samples)).mT
        found.copy_(product)
    return h


def add_forward(h: Tensor, x: Tensor, weights: Tensor) -> None:
    """Add ``x @ weights^T`` to h.

    x (members, batch, in), weights (members, out, in), h (members, batch, out).
    """
    if is_large(x, weights.shape[1]):
        for mine, features, weight in zip(h, x, weights, strict=True):
            mine.add_(_linear(features, weight))
    else:
        h.baddbmm_(x, weights.transpose(1, 2))


def forward(x: Tensor, weights: Tensor, out: Tensor | None = None) -> Tensor:
    """``x @ weights^T``, into ``out`` if given; shapes as in :func:`add_forward`."""
    if not is_large(x, weights.shape[1]):
        return torch.bmm(x, weights.transpose(1, 2), out=out)
    if out is None:
        out = x.new_empty(*x.shape[:2], weights.shape[1])
    for found, features, weight in zip(out, x, weights, strict=True):
        found.copy_(_linear(features, weight))
    return out


def backward(g: Tensor, weights: Tensor, out: Tensor | None = None) -> Tensor:
    """``g @ weights`` (members, batch, in), into ``out`` if given: g (members, batch, out)."""
    return forward(g, weights.mT, out)


def add_outer(
    weights: Tensor, error: Tensor, x: Tensor, groups: tuple[int, ...] | None = None
) -> None:
    """Add ``error^T @ x`` of every member to its weights; with ``groups``, x is as in :func:`of_groups`."""
    large = is_large(x, weights.shape[1])
    if groups is not None:
        parts = zip(
            torch.split(weights, list(groups)), torch.split(error, list(groups)), x, strict=True
        )
        for mine, errors, samples in parts:
            rows = mine.flatten(0, 1)
            columns = errors.transpose(1, 2).flatten(0, 1)
            if large:
                rows.add_(_linear(columns, samples.T))
            else:
                rows.addmm_(columns, samples)
    elif large:
        for weight, errors, features in zip(weights, error, x, strict=True):
            weight.add_(_linear(errors.T, features.T))
    else:
        weights.baddbmm_(error.transpose(1, 2), x)


# The operation behind compiled nn.Linear on CPUs; not all builds of torch have it.
_LINEAR: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x @ weight^T`` (batch, out) by oneDNN."""
    assert _LINEAR is not None  # asked by is_large
    return _LINEAR(x, weight, None, "none", [], "")


def is_large(x: Tensor, out: int) -> bool:
    """Whether one member's product of x (..., batch, in) with ``out`` rows is one for oneDNN."""
    return (
        x.size(-2) * x.size(-1) * out >= LARGE
        and _LINEAR is not None
        and x.dtype == torch.float32
        and x.device.type == "cpu"
    )
