"""The roles a weight can play (docs/theory.md, section 1), their order and their printed names.

A two-layer block uses ``hidden_1`` and ``hidden_2``; the one matrix of a one-layer block is ``hidden_2``.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Role = Literal["input", "hidden_1", "hidden_2", "output"]
ROLES: tuple[Role, ...] = get_args(Role)

# For tables; what a figure writes at a line is a symbol.
ROLE_NAMES: Mapping[Role, str] = {
    "input": "U, input",
    "hidden_1": "W1, first of two",
    "hidden_2": "W2, or W of one",
    "output": "V, output",
}


def hidden_roles(block_layers: int) -> tuple[Role, ...]:
    """Roles of a block's matrices, first to last."""
    return ("hidden_1", "hidden_2") if block_layers == 2 else ("hidden_2",)


def hidden_symbols(block_layers: int) -> dict[Role, str]:
    """Role -> symbol of a block's matrices, first to last, as figures print them."""
    symbols = ("W₁", "W₂") if block_layers == 2 else ("W",)
    return dict(zip(hidden_roles(block_layers), symbols, strict=True))
