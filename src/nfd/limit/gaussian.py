"""A Gaussian matrix that is never built (docs/theory.md, section 4; the idea is arXiv:2101.07464).

A matrix W with independent N(0, 1) entries is used only through products with a few vectors. What its
products have revealed is a set of linear constraints, and given those the rest of W is still Gaussian.
So each product samples what it needs and no more, which is exact in law for every finite size: p
vectors cost O(n p) memory and O(n p^2) time instead of O(n^2).

Vectors are rows throughout: a block of b vectors has shape (b, n).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# A residual below round-off to this power (float64: 2e-12, float32: 6e-6), relative to its vector, is
# taken for round-off and dropped; what is lost is of that order.
_TOLERANCE_POWER = 0.75
# Least squared sine, in a block, between a row and the span of those before it for Cholesky-QR.
_LEAST_PIVOT = 1e-3


class Product(NamedTuple):
    """A block of products and how its vectors are written in the basis of all vectors so far.

    Shapes: ``values`` (b, n); ``coordinates`` (b, p) with vectors = coordinates @ basis to round-off.
    """

    values: Tensor
    coordinates: Tensor


class Noise:
    """Rows of N(0, 1) numbers; with several seeds, their normalised sum, which has the same law.

    ``sign`` -1 negates them, with the same law again: averaged over both signs, odd effects cancel.
    Sums let matrices of networks of different depth share noise: what one layer of the shallow network
    draws is then the normalised sum of what the layers of the deep one in its place draw, as with the
    increments of a Brownian motion.
    """

    def __init__(
        self,
        size: int,
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        sign: int = 1,
    ):
        self.size, self.dtype, self.device = size, dtype, torch.device(device)
        self._scale = sign / len(seeds) ** 0.5
        self._generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]

    def draw(self, rows: int) -> Tensor:
        """The next ``rows`` rows, (rows, n)."""
        return self.fill(torch.empty(rows, self.size, dtype=self.dtype, device=self.device))

    def fill(self, out: Tensor) -> Tensor:
        """Write the next rows into ``out`` (rows, n) and return it."""
        first, *others = self._generators
        out.normal_(generator=first)
        for generator in others:
            out += torch.empty_like(out).normal_(generator=generator)
        return out if self._scale == 1 else out.mul_(self._scale)


class _Side:
    """What products from one side have revealed: an orthonormal basis and the images of its vectors."""

    def __init__(self, capacity: int, noise: Noise):
        shape = (min(capacity, noise.size), noise.size)
        self._basis = torch.empty(shape, dtype=noise.dtype, device=noise.device)
        self._images = torch.empty_like(self._basis)
        self.noise = noise
        self.used = 0

    @property
    def capacity(self) -> int:
        return len(self._basis)

    @property
    def nbytes(self) -> int:
        return self._basis.nbytes + self._images.nbytes

    @property
    def basis(self) -> Tensor:
        return self._basis[: self.used]

    @property
    def images(self) -> Tensor:
        return self._images[: self.used]

    def room(self, rows: int) -> tuple[Tensor, Tensor]:
        """Where the next ``rows`` vectors and images belong, or scratch memory if they cannot all fit."""
        room = slice(self.used, self.used + rows)
        if room.stop <= self.capacity:
            return self._basis[room], self._images[room]
        scratch = self._basis.new_empty(2, rows, self._basis.shape[1])
        return scratch[0], scratch[1]

    def grow(self, vectors: Tensor) -> Tensor:
        """Take ``vectors`` into the basis; returns their images (rows, n), to be filled by the caller."""
        end = self.used + len(vectors)
        if end > self.capacity:
            raise ValueError(
                f"capacity: the matrix was made for {self.capacity} independent vectors, "
                f"and {end} were multiplied"
            )
        room = slice(self.used, end)
        self._basis[room] = vectors
        self.used = end
        return self._images[room]


class GaussianMatrix:
    """An n x n matrix W of independent N(0, 1) entries, multiplied without being built.

    ``forward_noise`` and ``backward_noise`` are independent and set n, dtype and device; the capacities
    bound the number of linearly independent vectors W and its transpose will multiply (more than n
    never are). With ``coupling="decoupled"`` the transposed products come from an independent matrix.

    ``right.basis`` (p, n) spans the vectors W has multiplied and ``right.images`` holds W times them;
    ``left`` is the same for the transpose.
    """

    def __init__(
        self,
        forward_noise: Noise,
        backward_noise: Noise,
        forward_capacity: int,
        backward_capacity: int,
        coupling: str = "standard",
    ):
        self.coupled = coupling == "standard"
        self.right = _Side(forward_capacity, forward_noise)
        self.left = _Side(backward_capacity, backward_noise)

    @property
    def nbytes(self) -> int:
        """Memory of the four preallocated arrays, in bytes."""
        return self.right.nbytes + self.left.nbytes

    def multiply(self, vectors: Tensor, change: Tensor | None = None) -> Product:
        """W x for each row x of ``vectors`` (b, n). Raises FloatingPointError if they are not finite.

        With ``change`` (left capacity, right capacity), the matrix is W + left.basis^T change
        right.basis: how a matrix changes by outer products of vectors it has already met.
        """
        return self._reveal(self.right, self.left, vectors, None if change is None else change.T)

    def multiply_transposed(self, vectors: Tensor, change: Tensor | None = None) -> Product:
        """W^T g for each row g of ``vectors`` (b, n), and otherwise as :meth:`multiply`."""
        return self._reveal(self.left, self.right, vectors, change)

    def _reveal(self, this: _Side, other: _Side, vectors: Tensor, change: Tensor | None) -> Product:
        coordinates, fresh = extend_basis(this.basis, vectors, this.room(len(vectors)))
        if len(fresh):
            images = this.noise.fill(this.grow(fresh))
            if self.coupled and other.used:
                # In the span of the other side's basis the image is known; there it replaces the noise.
                known = fresh @ other.images.T
                known.addmm_(images, other.basis.T, alpha=-1)
                images.addmm_(known, other.basis)
        if change is None:
            return Product(coordinates @ this.images, coordinates)
        values = coordinates @ change[: this.used, : other.used] @ other.basis
        return Product(values.addmm_(coordinates, this.images), coordinates)


def extend_basis(
    basis: Tensor, vectors: Tensor, scratch: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Orthonormal rows ``fresh`` (m, n) that extend ``basis`` (p, n) to span ``vectors`` (b, n) too.

    Returns (coordinates, fresh) with vectors = coordinates @ [basis; fresh], coordinates (b, p + m).
    Directions whose residual is below a tolerance relative to their own vector are left out. Block
    Gram-Schmidt, twice: the second pass, after normalising, restores orthogonality to round-off.

    ``scratch``, two blocks (b, n), is overwritten, and holds ``fresh`` at the start of its first block
    at least if no direction is left out. Memory touched for the first time is half of the cost.
    """
    first, second = scratch or vectors.new_empty(2, *vectors.shape)
    tolerance = torch.finfo(vectors.dtype).eps ** _TOLERANCE_POWER
    floor = tolerance * _array(torch.linalg.vector_norm(vectors, dim=1))
    room = vectors.shape[1] - len(basis)
    along = vectors @ basis.T
    torch.addmm(vectors, along, basis, alpha=-1, out=first)
    outside, fresh = _orthonormal_rows(first, floor, room, second)
    if not len(fresh):
        return along, fresh
    slip = fresh @ basis.T
    fresh.addmm_(slip, basis, alpha=-1)
    outside_again, fresh = _orthonormal_rows(fresh, np.zeros(len(fresh)), room, first[: len(fresh)])
    along.addmm_(vectors.new_tensor(outside), slip)
    return torch.cat([along, vectors.new_tensor(outside @ outside_again)], dim=1), fresh


def _orthonormal_rows(
    rows: Tensor, floor: np.ndarray, room: int, out: Tensor
) -> tuple[np.ndarray, Tensor]:
    """``rows`` (b, n) = factor (b, m) @ orthonormal (m, n), less what is dropped.

    A row no farther than its ``floor`` (b,) from the others' span is dropped, and so is what goes
    beyond ``room`` directions. Cholesky-QR, two passes over the rows, into ``out`` (b, n), if their
    Gram matrix resolves all of them; else Householder, in memory of its own.
    """
    gram = _array(rows @ rows.T).astype(np.float64)
    if not np.isfinite(gram).all():
        raise FloatingPointError("the vectors to be multiplied are not finite")
    norms = np.sqrt(gram.diagonal())
    if (norms > floor).all() and len(rows) <= room:
        lower = _cholesky(gram / np.outer(norms, norms))
        pivots = lower.diagonal()
        if (pivots**2 > _LEAST_PIVOT).all() and (pivots * norms > floor).all():
            factor = norms[:, None] * lower
            return factor, torch.mm(rows.new_tensor(np.linalg.inv(factor)), rows, out=out)
    return _orthonormal_rows_of_any_rank(rows, floor, room)


def _orthonormal_rows_of_any_rank(
    rows: Tensor, floor: np.ndarray, room: int
) -> tuple[np.ndarray, Tensor]:
    """:func:`_orthonormal_rows` by Householder reflections, in rounds.

    Where a row depends on earlier ones, its reflection leaves an arbitrary direction. Such rows are
    left out of the round and come again, less what they share with the accepted ones.
    """
    rest, orthonormal = rows, rows[:0]
    pending = np.arange(len(rows))
    while True:
        norms = _array(torch.linalg.vector_norm(rest, dim=1))
        pending = pending[norms[pending] > floor[pending]]
        pending = pending[_farthest_first(_array(rest[pending] @ rest[pending].T))]
        tried = pending[: room - len(orthonormal)]
        if not len(tried):
            return _array(rows @ orthonormal.T), orthonormal
        directions, triangle = torch.linalg.qr(rest[tried].T)
        accepted = tried[np.abs(_array(triangle.diagonal())) > floor[tried]]
        if len(accepted) < len(tried):
            directions, _ = torch.linalg.qr(rest[accepted].T)
        orthonormal = torch.cat([orthonormal, directions.T])
        rest = torch.addmm(rows, rows @ orthonormal.T, orthonormal, alpha=-1)
        pending = np.setdiff1d(pending, accepted)


def _farthest_first(gram: np.ndarray) -> list[int]:
    """An order of rows in which each is the farthest, or nearly, from the span of those before it.

    So no direction is taken from a small residual while others depend on it more than on what is sure.
    """
    left = gram.astype(np.float64)
    order: list[int] = []
    for _ in range(len(gram)):
        distance = left.diagonal().copy()
        distance[order] = -np.inf
        pick = int(distance.argmax())
        order.append(pick)
        if left[pick, pick] > 0:
            left -= np.outer(left[:, pick], left[pick]) / left[pick, pick]
    return order


def _cholesky(gram: np.ndarray) -> np.ndarray:
    """Lower factor of a symmetric matrix; zeros if it is not numerically positive definite."""
    try:
        return np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return np.zeros_like(gram)


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
