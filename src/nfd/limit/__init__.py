"""The infinite-width limit, simulated with particles (docs/theory.md, sections 3 and 4).

A network of width n is simulated by n particles: every hidden matrix is a
:class:`nfd.limit.gaussian.GaussianMatrix`, which is exact in law for every finite n, so that the limit is
approached as n grows at a cost linear in n. ``coupling="standard"`` gives the coupled limit of real
training, ``coupling="decoupled"`` the dynamics in which the backward pass uses an independent copy of
the initial hidden weights; its limit of infinite depth is Neural Feature Dynamics (NFD).

The change that training makes to a hidden matrix is a sum of outer products of vectors the matrix has
already been multiplied by. It is kept as a small matrix in their two bases and costs no memory in n.

Fields are normalised as in section 3: h_l are the features, g_l / n is the derivative of a sample's
loss with respect to h_l; both are O(1) per coordinate.
"""
