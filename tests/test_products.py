"""The products of a stack against einsum, by both ways, and one member's whoever stands beside it."""

from functools import partial

import numpy as np
import pytest
import torch

from nfd.network import products

MEMBERS, BATCH, OUT, IN = 5, 6, 12, 20
GROUPS = (2, 0, 3)
needs_onednn = pytest.mark.skipif(products._LINEAR is None, reason="torch is built without oneDNN")
WAYS = ["blas", pytest.param("onednn", marks=needs_onednn)]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setattr(products, "LARGE", 0 if request.param == "onednn" else 2**60)


def drawn(*shape):
    rng = np.random.default_rng(sum(shape))
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)


def test_products_of_each_member(way):
    w, x, g = drawn(MEMBERS, OUT, IN), drawn(MEMBERS, BATCH, IN), drawn(MEMBERS, BATCH, OUT)
    forward = torch.einsum("moi,mbi->mbo", w.double(), x.double()).float()
    close(products.forward(x, w), forward)
    out = torch.empty_like(g)
    assert products.forward(x, w, out) is out
    close(out, forward)
    h = g.clone()
    products.add_forward(h, x, w)
    close(h, g + forward)
    backward = torch.einsum("mbo,moi->mbi", g, w)
    close(products.backward(g, w), backward)
    out = torch.empty_like(x)
    assert products.backward(g, w, out) is out
    close(out, backward)
    moved = w.clone()
    products.add_outer(moved, g, x)
    close(moved, w + torch.einsum("mbo,mbi->moi", g, x))


def test_products_of_members_that_see_the_same(way):
    w, x, g = drawn(MEMBERS, OUT, IN), drawn(len(GROUPS), BATCH, IN), drawn(MEMBERS, BATCH, OUT)
    seen = x.repeat_interleave(torch.tensor(GROUPS), 0)
    close(products.of_groups(x, w, GROUPS), torch.einsum("moi,mbi->mbo", w, seen))
    moved = w.clone()
    products.add_outer(moved, g, x, GROUPS)
    close(moved, w + torch.einsum("mbo,mbi->moi", g, seen))


@needs_onednn
@pytest.mark.parametrize(("batch", "out", "into"), [(32, 64, 3072), (4, 1024, 1024)])
def test_one_members_large_products_are_the_same_in_every_stack(batch, out, into):
    """Bit for bit: alone, and among others that see the same or have features of their own."""
    w, x, g = drawn(3, out, into), drawn(3, batch, into), drawn(3, batch, out)
    assert products.is_large(x, out)
    assert torch.equal(products.forward(x, w)[1:2], products.forward(x[1:2], w[1:2]))
    assert torch.equal(products.backward(g, w)[1:2], products.backward(g[1:2], w[1:2]))
    shared = products.of_groups(x[:1], w, (3,))
    assert torch.equal(shared[1:2], products.of_groups(x[:1], w[1:2], (1,)))
    for features, groups, mine in ((x, None, x[1:2]), (x[:1], (3,), x[:1])):
        alone, together = w[1:2].clone(), w.clone()
        products.add_outer(together, g, features, groups)
        products.add_outer(alone, g[1:2], mine, groups and (1,))
        assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_only_large_products_of_float32_go_to_onednn(dtype):
    x = torch.empty(64, 3072)
    assert products.is_large(x, 128) == (products._LINEAR is not None)
    assert not products.is_large(x[:, :64], 128)
    assert not products.is_large(x.to(dtype), 128)
