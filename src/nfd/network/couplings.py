"""The couplings: which hidden weights a backward pass uses (docs/theory.md, sections 3 and 5).

In all of them the learned change is shared by both passes; they differ in the initial weights that stand
beside it in the backward pass. A new one is a record in ``COUPLINGS``, and its copies in
:mod:`nfd.network.stack`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Coupling:
    """One coupling.

    ``printed_name`` stands in tables and figures, ``limit_name`` is that of its limit of infinite width and
    depth (None: no solver for it). ``copies``: how many numbers a network keeps for each hidden weight
    besides the weight. ``block_layers``: the kinds of block it is defined for.
    """

    name: str
    printed_name: str
    limit_name: str | None
    copies: int
    block_layers: tuple[int, ...] = (1, 2)


# In the order in which their members stand in a stack.
COUPLINGS: Mapping[str, Coupling] = {
    coupling.name: coupling
    for coupling in (
        # The network's own weights.
        Coupling("standard", "standard", "coupled limit", copies=0),
        # One independent copy of the initial weights, the same at all steps.
        Coupling("decoupled", "decoupled", "NFD", copies=1),
        # An independent copy drawn anew at every step; what is kept is the learned change alone.
        Coupling("fresh", "fresh copies", "NFD, fresh copies", copies=1),
        # As decoupled, but the gradient of W1 itself comes through a third copy of W2.
        Coupling("third", "third copy", None, copies=2, block_layers=(2,)),
    )
}
LIMIT_COUPLINGS = tuple(name for name, coupling in COUPLINGS.items() if coupling.limit_name)


def stacking_order(coupling: str) -> int:
    """Where members of a coupling stand in a stack, counted from the front."""
    return list(COUPLINGS).index(coupling)
