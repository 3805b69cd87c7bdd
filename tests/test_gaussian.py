"""The matrix-free Gaussian matrix: consistency to round-off, law, bases, memory (theory, section 4)."""

import numpy as np
import pytest
import torch

from nfd.limit.gaussian import GaussianMatrix, Noise, extend_basis


def matrix(n, coupling="standard", capacity=None, seed=0, dtype=torch.float64):
    capacity = capacity or n
    noise = (Noise(n, [2 * seed], dtype), Noise(n, [2 * seed + 1], dtype))
    return GaussianMatrix(*noise, capacity, capacity, coupling)


def normal(rows, n, seed=0, dtype=torch.float64):
    return torch.randn(rows, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def complete(w, rng):
    """Dense (forward, backward) matrices from what ``w`` has revealed and a fresh remainder."""
    sides = (w.right.basis, w.right.images, w.left.basis, w.left.images)
    x, y, g, z = (t.double().cpu().numpy() for t in sides)
    n = x.shape[1]
    off_x, off_g = np.eye(n) - x.T @ x, np.eye(n) - g.T @ g
    rest, other = rng.standard_normal((2, n, n))
    if w.coupled:
        forward = y.T @ x + g.T @ z @ off_x + off_g @ rest @ off_x
        return forward, forward
    return y.T @ x + rest @ off_x, g.T @ z + off_g @ other


def interleaved(w, rounds=4):
    """Products with fresh vectors, with earlier results, and with combinations of earlier vectors."""
    n = w.right.noise.size
    forward, backward = [], []
    x, g = normal(3, n, 1), normal(2, n, 2)
    for k in range(rounds):
        y = w.multiply(x).values
        forward.append((x, y))
        z = w.multiply_transposed(g).values
        backward.append((g, z))
        x = torch.cat([torch.tanh(z), x[:1] + x[1:2], normal(1, n, 10 + k)])
        g = torch.cat([torch.relu(y[:2]), 2 * g[:1]])
    return [
        torch.cat(parts) for parts in (*zip(*forward, strict=True), *zip(*backward, strict=True))
    ]


def test_products_from_both_sides_belong_to_one_matrix():
    x, y, g, z = interleaved(matrix(60))
    assert torch.allclose(g @ y.T, z @ x.T, rtol=0, atol=1e-11 * float((g @ y.T).abs().max()))


def test_products_of_a_decoupled_matrix_do_not():
    x, y, g, z = interleaved(matrix(60, "decoupled"))
    assert float((g @ y.T - z @ x.T).abs().max()) > 0.1 * float((g @ y.T).abs().max())


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_a_completed_matrix_replays_every_product(coupling):
    w = matrix(50, coupling)
    x, y, g, z = interleaved(w)
    forward, backward = complete(w, np.random.default_rng(0))
    assert np.abs(x.numpy() @ forward.T - y.numpy()).max() < 1e-10
    assert np.abs(g.numpy() @ backward - z.numpy()).max() < 1e-10
    assert np.array_equal(forward, backward) == (coupling == "standard")


def test_a_linear_combination_costs_nothing_and_is_the_combination():
    w = matrix(40)
    x = normal(5, 40)
    y = w.multiply(x).values
    used = w.right.used
    weights = normal(7, 5, 3)
    assert torch.allclose(w.multiply(weights @ x).values, weights @ y, atol=1e-11)
    assert w.right.used == used


def test_more_vectors_than_the_size_reveal_the_whole_matrix():
    n = 12
    w = matrix(n)
    first = w.multiply(normal(3 * n, n)).values
    assert w.right.used == n
    dense = w.multiply(torch.eye(n, dtype=torch.float64)).values.T
    assert torch.allclose(normal(3 * n, n) @ dense.T, first, atol=1e-10)
    # And the transpose is then determined, without fresh noise.
    g = normal(4, n, 5)
    assert torch.allclose(w.multiply_transposed(g).values, g @ dense, atol=1e-10)


def moments(coupling, seed_count=3000, n=6):
    """E of |Wx|^2, |W^T W x|^2 and |W W^T W x|^2 for |x| = 1, with standard errors."""
    seen = []
    for seed in range(seed_count):
        w = matrix(n, coupling, seed=seed)
        x = torch.eye(n, dtype=torch.float64)[:1]
        y = w.multiply(x).values
        z = w.multiply_transposed(y).values
        seen.append([float((v**2).sum()) for v in (y, z, w.multiply(z).values)])
    return np.mean(seen, axis=0), np.std(seen, axis=0) / seed_count**0.5


def dense_moments(coupling, count=200_000, n=6):
    rng = np.random.default_rng(1)
    w = rng.standard_normal((count, n, n))
    back = w if coupling == "standard" else rng.standard_normal((count, n, n))
    y = w[:, :, 0]
    z = np.einsum("kij,ki->kj", back, y)
    seen = np.stack([(v**2).sum(1) for v in (y, z, np.einsum("kij,kj->ki", w, z))], axis=1)
    return seen.mean(0), seen.std(0) / count**0.5


@pytest.mark.parametrize("coupling", ["standard", "decoupled"])
def test_moments_of_repeated_products_are_those_of_dense_matrices(coupling):
    """Within three standard errors (2 to 5 %) at n = 6; E|W^T W x|^2 is also known: n(2n+1) or n^2."""
    n = 6
    ours, error = moments(coupling)
    dense, dense_error = dense_moments(coupling)
    assert np.all(np.abs(ours - dense) < 3 * np.hypot(error, dense_error))
    assert abs(ours[1] - (n * (2 * n + 1) if coupling == "standard" else n**2)) < 3 * error[1]
    # The check can fail: the other coupling is far outside.
    other = dense_moments("decoupled" if coupling == "standard" else "standard")[0]
    assert np.all(np.abs(ours - other)[1:] > 6 * error[1:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_bases_stay_orthonormal_over_many_nearly_dependent_blocks(dtype):
    n, eps = 400, torch.finfo(dtype).eps
    basis, anchor = torch.empty(0, n, dtype=dtype), normal(6, n, 0, dtype)
    for k in range(40):
        block = anchor + 10.0 ** -(k % 8) * normal(6, n, k + 1, dtype)
        if k % 5 == 0:
            block = torch.cat([block, 3 * block[:2], block[:1] + block[1:2]])
        if k % 7 == 0:
            block[0] = 0
        coordinates, fresh = extend_basis(basis, block)
        basis = torch.cat([basis, fresh])
        error = torch.linalg.vector_norm(coordinates @ basis - block, dim=1)
        assert bool((error <= 2 * eps**0.75 * torch.linalg.vector_norm(block, dim=1)).all())
    identity = torch.eye(len(basis), dtype=dtype)
    assert float((basis @ basis.T - identity).abs().max()) < 20 * eps


def test_small_residuals_count_relative_to_their_own_vector():
    n = 100
    x = normal(1, n)
    _, basis = extend_basis(x[:0], x)
    new = normal(1, n, 1)
    for size in (1e-100, 1.0, 1e100):
        kept = extend_basis(basis, size * (x + 1e-6 * new))[1]
        dropped = extend_basis(basis, size * (x + 1e-14 * new))[1]
        assert (len(kept), len(dropped)) == (1, 0)
    assert len(extend_basis(basis, torch.zeros(2, n, dtype=torch.float64))[1]) == 0


def test_dependent_rows_are_found_in_any_order():
    n = 50
    a, b, c = normal(3, n)
    for rows, rank in (
        ([a, a, b, a + b, c], 3),
        ([a, a + 1e-15 * b, b], 2),
        ([a, a + 1e-5 * b, a + 2e-5 * b, c], 3),
        ([0 * a, a], 1),
        ([a + 1e-4 * b, a + 2e-4 * c, a], 3),
    ):
        block = torch.stack(rows)
        coordinates, fresh = extend_basis(block[:0], block)
        assert len(fresh) == rank
        assert torch.allclose(coordinates @ fresh, block, atol=1e-11)


def test_summed_noise_is_the_normalised_sum_and_has_variance_one():
    parts = [Noise(5000, [seed], torch.float64).draw(3) for seed in (1, 2, 3)]
    total = Noise(5000, [1, 2, 3], torch.float64).draw(3)
    assert torch.allclose(total, sum(parts) / 3**0.5)
    assert abs(float(total.var()) - 1) < 3 * (2 / total.numel()) ** 0.5
    negated = Noise(5000, [1, 2, 3], torch.float64, sign=-1).draw(3)
    assert torch.equal(negated, -total)


def test_memory_is_known_in_advance():
    w = GaussianMatrix(Noise(100, [0]), Noise(100, [1]), 7, 300, "standard")
    assert w.nbytes == 2 * (7 + 100) * 100 * 4


def test_errors_say_what_is_wrong():
    w = matrix(30, capacity=4)
    with pytest.raises(ValueError, match="made for 4 independent vectors, and 6"):
        w.multiply(normal(6, 30))
    bad = normal(2, 30)
    bad[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        w.multiply(bad)
