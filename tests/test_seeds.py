"""Named random numbers: the same name gives the same numbers, another name independent ones."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from nfd.network import stack
from nfd.seeds import generator


def draws(*names, root=0, count=4096):
    return generator(root, *names).standard_normal(count)


def test_same_names_give_the_same_numbers_whatever_was_drawn_before():
    first = draws("weights", 3, "hidden_2", 1)
    draws("weights", 4, "hidden_2", 1)
    np.testing.assert_array_equal(draws("weights", 3, "hidden_2", 1), first)


def test_the_numbers_themselves_are_pinned():
    """Fails if naming or bit generator change: published runs could then not be reproduced."""
    drawn = generator(0, "weights", 0, "input", 0, "forward").integers(0, 1000, 5)
    np.testing.assert_array_equal(drawn, [433, 116, 46, 403, 220])


def test_every_name_and_the_root_seed_matter():
    """16 streams of 4096 numbers: pairwise correlations below 5 standard errors, 5 / 64."""
    streams = [
        draws("weights", seed, role, layer, root=root)
        for root, seed, role, layer in product((0, 1), (0, 1), ("input", "hidden_2"), (0, 1))
    ]
    correlation = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlation).max() < 5 / 64


@pytest.mark.parametrize("nested", [False, True])
def test_weights_are_standard_normal_and_addressed_by_name(nested):
    """Moments of 10^6 entries within 5 standard errors: 1/1000, sqrt 2/1000, sqrt 96/1000."""
    shape = (1000, 1000)
    initial_weight = partial(stack.initial_weight, nested=nested)
    w = initial_weight(0, 3, "hidden_2", 5, shape).astype(float)
    assert abs(w.mean()) < 5e-3
    assert abs((w**2).mean() - 1) < 5 * 2**0.5 * 1e-3
    assert abs((w**4).mean() - 3) < 5 * 96**0.5 * 1e-3
    others = [
        initial_weight(1, 3, "hidden_2", 5, shape),
        initial_weight(0, 4, "hidden_2", 5, shape),
        initial_weight(0, 3, "hidden_1", 5, shape),
        initial_weight(0, 3, "hidden_2", 6, shape),
        initial_weight(0, 3, "hidden_2", 5, shape, copy="backward"),
        initial_weight(0, 3, "hidden_2", 5, shape, copy="backward", step=2),
        stack.initial_weight(0, 3, "hidden_2", 5, shape, nested=not nested),
        np.roll(w, 1, axis=0),  # rows have streams of their own
    ]
    for other in others:
        assert abs((w * other).mean()) < 5e-3


def test_a_nested_matrix_is_the_corner_of_larger_ones():
    large = stack.initial_weight(0, 3, "hidden_2", 5, (64, 48), nested=True)
    for shape in ((64, 48), (32, 24), (1, 1), (10, 48)):
        corner = stack.initial_weight(0, 3, "hidden_2", 5, shape, nested=True)
        assert corner.dtype == np.float32
        np.testing.assert_array_equal(corner, large[: shape[0], : shape[1]])
