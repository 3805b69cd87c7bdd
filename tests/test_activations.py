"""Every record of ACTIVATIONS against torch.nn, autograd and quadrature, in float64."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
import reference
import torch

from nfd.network.activations import ACTIVATIONS

# What a new record is compared with: the function of torch that it means.
TORCH = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "linear": lambda x: x,
    "gelu": torch.nn.functional.gelu,
    "erf": torch.erf,
}
WITH_KERNEL = [name for name, phi in ACTIVATIONS.items() if phi.kernel is not None]


def points():
    """Numbers of all sizes and both signs; ReLU's kink, 0, is apart."""
    x = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x * torch.logspace(-3, 1.5, 6, dtype=torch.float64).view(-1, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_are_those_of_torch_also_in_place(name):
    x, phi = points(), ACTIVATIONS[name]
    expected = TORCH[name](x).clone()
    torch.testing.assert_close(phi.value(x, torch.empty_like(x)), expected, rtol=1e-13, atol=1e-15)
    assert phi.value(x, x) is x
    torch.testing.assert_close(x, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_agree_with_autograd(name):
    """From the input, and where there is one, from the value and in place."""
    x, phi = points().requires_grad_(), ACTIVATIONS[name]
    g = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    TORCH[name](x).backward(g)
    x = x.detach().requires_grad_(False) if x.grad is None else x
    slope = phi.derivative(x.detach())
    torch.testing.assert_close(g * slope, x.grad, rtol=1e-12, atol=1e-15)
    if phi.times_derivative is not None:
        got = g.clone()
        value = phi.value(x.detach(), torch.empty_like(g))
        assert phi.times_derivative(got, value) is got
        torch.testing.assert_close(got, x.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gain_is_that_of_the_reference(name):
    assert ACTIVATIONS[name].gain == pytest.approx(reference.gain(name), rel=1e-12)


def normal_pairs(a, b, rho, order=200):
    """Nodes u, v of variances a, b and correlation rho, and their weights."""
    z, w = np.polynomial.hermite_e.hermegauss(order)
    first, second = np.meshgrid(z, z, indexing="ij")
    u = sqrt(a) * first
    v = sqrt(b) * (rho * first + sqrt(1 - rho**2) * second)
    return u, v, np.outer(w, w) / w.sum() ** 2


@pytest.mark.parametrize("name", [name for name in WITH_KERNEL if name != "relu"])
@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.3, 1.7)])
@pytest.mark.parametrize("rho", [-0.9, -0.2, 0.0, 0.5, 1.0])
def test_kernels_agree_with_quadrature(name, a, b, rho):
    """Gauss-Hermite of 200 x 200 nodes: to 1e-9 (ReLU's kink needs other means: test_closed_form)."""
    c = rho * sqrt(a * b)
    found = ACTIVATIONS[name].kernel(np.array([[a, c], [c, b]]))
    u, v, weights = normal_pairs(a, b, rho)
    for moments, function in ((found.values, reference.phi), (found.slopes, reference.phi_prime)):
        expected = (weights * function(name, u) * function(name, v)).sum()
        assert moments[0, 1] == pytest.approx(expected, abs=1e-9)
        assert moments[1, 0] == moments[0, 1]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_energy_is_one_number_at_all_sizes_or_there_is_none(name):
    """E phi^2 / E h^2 and E phi'^2 at three variances, by quadrature on each side of 0."""
    ratios = []
    z, w = np.polynomial.laguerre.laggauss(80)
    for variance, sign in product((0.5, 1.0, 4.0), (1,)):
        h = sign * np.sqrt(2 * variance * z)  # h^2 / 2 variance is Gamma(1/2), density in z below
        half = w / np.sqrt(np.pi * z) / 2
        square = sum((half * reference.phi(name, s * h) ** 2).sum() for s in (1, -1))
        slope = sum((half * reference.phi_prime(name, s * h) ** 2).sum() for s in (1, -1))
        size = 2 * (half * h**2).sum()
        ratios += [square / size, slope / (2 * half.sum())]
    energy = ACTIVATIONS[name].energy
    if energy is None:
        assert np.ptp(ratios) > 0.05
    else:
        np.testing.assert_allclose(ratios, energy, rtol=1e-9)


def test_closed_forms_and_configurations_need_no_torch():
    import subprocess
    import sys

    modules = "nfd.network.activations, nfd.network.architecture, nfd.network.losses"
    modules += ", nfd.training.optimizers, nfd.limit.memory, nfd.closed_form, nfd.pipeline.jobs"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
