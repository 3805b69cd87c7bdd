"""A hidden matrix in training, as particles see it: revealed product by product, or written out.

Both have one law. A matrix that meets few vectors is cheapest as a
:class:`nfd.limit.gaussian.GaussianMatrix`; one that meets more than a third of its size, as in hundreds of
steps, costs less with its n x n entries written out (:func:`nfd.limit.memory.is_written_out`).
"""

from typing import Protocol

import numpy as np
from torch import Tensor

from nfd.limit.gaussian import GaussianMatrix, Noise


class HiddenMatrix(Protocol):
    """What a network asks of a hidden matrix; ``multiplier``, of the forward pass, is left to the caller.

    ``rate`` multiplies a step's sum of outer products.
    """

    multiplier: float

    def forward(self, vectors: Tensor) -> Tensor:
        """W x for each row x."""

    def backward(self, vectors: Tensor) -> Tensor:
        """W^T g for each row g."""

    def initial_forward(self, rows: slice | np.ndarray) -> Tensor:
        """W^0 x for some rows of the last forward block."""

    def learn(self, rows: slice | np.ndarray, weights: Tensor) -> None:
        """Add rate * sum_b weights_b error_b input_b^T; input b is row ``rows[b]`` of its block."""


class WrittenMatrix:
    """A hidden matrix with all its entries, and a copy of what it was.

    ``backward_noise`` is drawn from if the backward pass has an initial matrix of its own (decoupled).
    """

    def __init__(
        self,
        forward_noise: Noise,
        backward_noise: Noise,
        coupling: str,
        multiplier: float,
        rate: float,
    ):
        self.multiplier, self.rate = multiplier, rate
        self.initial = forward_noise.draw(forward_noise.size)
        self._forward = self._backward = self.initial.clone()
        # What is learned is added to each of the two passes' matrices.
        self._taught = [self._forward]
        if coupling == "decoupled":
            self._backward = backward_noise.draw(backward_noise.size)
            self._taught.append(self._backward)

    @property
    def nbytes(self) -> int:
        """Memory of the matrices, in bytes."""
        return self.initial.nbytes + sum(matrix.nbytes for matrix in self._taught)

    def forward(self, vectors: Tensor) -> Tensor:
        """W x for each row x."""
        self.inputs = vectors.clone()  # the caller adds to its vectors in place
        return vectors @ self._forward.T

    def backward(self, vectors: Tensor) -> Tensor:
        """W^T g for each row g."""
        self.errors = vectors.clone()
        return vectors @ self._backward

    def initial_forward(self, rows: slice | np.ndarray) -> Tensor:
        """W^0 x for some rows of the last forward block."""
        return self.inputs[rows] @ self.initial.T

    def learn(self, rows: slice | np.ndarray, weights: Tensor) -> None:
        """As :meth:`HiddenMatrix.learn`; samples of weight 0 are left out."""
        if not self.rate:
            return
        taught = weights.nonzero()[:, 0]
        errors = (self.errors[taught] * weights[taught, None]).T
        inputs = self.inputs[rows][taught]
        for matrix in self._taught:
            matrix.addmm_(errors, inputs, alpha=self.rate)


class RevealedMatrix:
    """A hidden matrix: its initial weights, revealed as needed, and what training added to them.

    The change is left.basis^T @ change @ right.basis, so that only the small ``change`` is kept.
    ``multiplier`` is the forward multiplier, left to the caller; ``rate`` multiplies a step's sum of
    outer products.
    """

    def __init__(self, initial: GaussianMatrix, multiplier: float, rate: float):
        self.initial, self.multiplier, self.rate = initial, multiplier, rate
        self._change = initial.left.basis.new_zeros(initial.left.capacity, initial.right.capacity)
        self._changed = False

    def forward(self, vectors: Tensor) -> Tensor:
        """W x for each row x."""
        change = self._change if self._changed else None
        values, self.inputs = self.initial.multiply(vectors, change)
        return values

    def backward(self, vectors: Tensor) -> Tensor:
        """W^T g for each row g."""
        change = self._change if self._changed else None
        values, self.errors = self.initial.multiply_transposed(vectors, change)
        return values

    def initial_forward(self, rows: slice | np.ndarray) -> Tensor:
        """W^0 x for some rows of the last forward block."""
        return self.inputs[rows] @ self.initial.right.images

    def learn(self, rows: slice | np.ndarray, weights: Tensor) -> None:
        """Add rate * sum_b weights_b error_b input_b^T; input b is row ``rows[b]`` of its block."""
        if self.rate:
            seen = self._change[: self.initial.left.used, : self.initial.right.used]
            seen.addmm_((self.errors * weights[:, None]).T, self.inputs[rows], alpha=self.rate)
            self._changed = True
