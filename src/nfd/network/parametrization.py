"""The parametrizations as one table of exponents (docs/theory.md, section 2).

Every weight is stored with N(0, 1) entries. What distinguishes one parametrization from another is,
for each role a weight can play, three numbers: the multiplier it is used with in the forward (and
hence the backward) pass, and the factors on the learning rate under SGD and under Adam. Each is a
product of powers of the fan-in d of the input layer, the width n, the number of blocks L and the time
horizon T, so the whole table is data.

Names collide in public code (a recipe called depth_mup elsewhere is the 1/L rule), so reports print
:meth:`Parametrization.describe` beside the name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, get_args

from nfd.choices import check_choice
from nfd.network.roles import ROLES, Role

# The columns of learning-rate factors; an optimizer says which one it takes.
RateColumn = Literal["sgd", "adam"]
RATE_COLUMNS: tuple[RateColumn, ...] = get_args(RateColumn)

_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Power:
    """The product d^d n^n L^(L + p Lp) T^T, with p the correction exponent of the run."""

    d: Fraction | int = 0
    n: Fraction | int = 0
    L: Fraction | int = 0
    Lp: int = 0
    T: Fraction | int = 0

    def value(self, width: int, depth: int, input_dim: int, horizon: float, p: float) -> float:
        product: float = (
            float(input_dim) ** float(self.d)
            * float(width) ** float(self.n)
            * float(depth) ** (float(self.L) + self.Lp * p)
            * float(horizon) ** float(self.T)
        )
        return product

    def __str__(self) -> str:
        depth_exponent = _depth_exponent(self.L, self.Lp)
        parts = [("T", str(self.T)), ("d", str(self.d)), ("n", str(self.n)), ("L", depth_exponent)]
        shown = [
            name if power == "1" else f"{name}^{power}" for name, power in parts if power != "0"
        ]
        return " ".join(shown) or "1"


def _depth_exponent(constant: Fraction | int, p_factor: int) -> str:
    if p_factor == 0:
        return str(constant)
    if constant == 0:
        return "p"
    return f"(p{'+' if constant > 0 else '-'}{abs(constant)})"


@dataclass(frozen=True)
class Cell:
    """One weight role: forward multiplier, SGD and Adam learning-rate factors."""

    multiplier: Power
    sgd: Power
    adam: Power


@dataclass(frozen=True)
class RoleScale:
    """A cell of the table with the numbers put in: both are dimensionless factors."""

    multiplier: float
    learning_rate: float


@dataclass(frozen=True)
class Scales:
    """All scales of one network: ``branch`` multiplies the output of every block."""

    branch: float
    roles: MappingProxyType[Role, RoleScale]

    def __getitem__(self, role: Role) -> RoleScale:
        return self.roles[role]


@dataclass(frozen=True)
class Parametrization:
    """One row of the table of docs/theory.md, section 2.

    ``printed_name`` stands at a line of a figure, ``long_name`` where exponents are listed;
    ``colour_key`` names a colour of the figures' palette ("" for the default one).
    """

    name: str
    printed_name: str
    long_name: str
    colour_key: str
    branch: Power
    cells: MappingProxyType[Role, Cell]

    def scales(
        self,
        width: int,
        depth: int,
        input_dim: int,
        *,
        horizon: float = 1.0,
        optimizer: RateColumn = "sgd",
        correction: float = 0.5,
    ) -> Scales:
        """Numbers for a network of ``width`` n, ``depth`` L blocks, ``input_dim`` d and ``horizon`` T.

        ``optimizer`` is the column of learning-rate factors: sgd or adam, which the other optimizers
        follow (:data:`nfd.training.optimizers.OPTIMIZERS`). The factors multiply the run's learning
        rate. ``correction`` is the exponent p; rows without it do not depend on it.
        """
        check_choice("optimizer", optimizer, RATE_COLUMNS)
        sizes = (width, depth, input_dim, horizon, correction)
        roles = {
            role: RoleScale(cell.multiplier.value(*sizes), getattr(cell, optimizer).value(*sizes))
            for role, cell in self.cells.items()
        }
        return Scales(self.branch.value(*sizes), MappingProxyType(roles))

    @property
    def has_depth_limit(self) -> bool:
        """Whether blocks shrink with depth, so that networks with skips have a limit L -> infinity."""
        return self.branch.L < 0

    @property
    def has_correction(self) -> bool:
        """Whether the exponent p enters."""
        return any(cell.sgd.Lp or cell.adam.Lp for cell in self.cells.values())

    @property
    def learns_features(self) -> bool:
        """Whether features move by O(1) under SGD at infinite width: those with mup's powers of n."""
        mup = {"input": _MUP_INPUT, "output": _MUP_OUTPUT}
        return all(
            (cell.multiplier.n, cell.sgd.n)
            == tuple(power.n for power in mup.get(role, _MUP_HIDDEN)[:2])
            for role, cell in self.cells.items()
        )

    def describe(self) -> dict[str, str]:
        """Exponents as text, one entry per column, e.g. ``{"branch": "T^1/2 L^-1/2", ...}``."""
        table = {"branch": str(self.branch)}
        for role, cell in self.cells.items():
            table[role] = f"{cell.multiplier} | {cell.sgd} | {cell.adam}"
        return table


def _row(
    name: str,
    branch: Power,
    *,
    printed_name: str = "",
    long_name: str = "",
    colour_key: str = "",
    **cells: tuple[Power, Power, Power],
) -> Parametrization:
    printed_name = printed_name or name
    table = MappingProxyType({role: Cell(*cells[role]) for role in ROLES})
    return Parametrization(name, printed_name, long_name or printed_name, colour_key, branch, table)


_ONE = Power()
_SQRT_BRANCH = Power(T=_HALF, L=-_HALF)

_MUP_INPUT = (Power(d=-_HALF), Power(n=1), _ONE)
_MUP_HIDDEN = (Power(n=-_HALF), Power(n=1), Power(n=-_HALF))
_MUP_OUTPUT = (Power(n=-1), Power(n=1), _ONE)
_DEPTH_HIDDEN = (Power(n=-_HALF), Power(n=1), Power(n=-_HALF, L=-_HALF))
_CORRECTED_HIDDEN = (Power(n=-_HALF), Power(n=1, Lp=1), Power(n=-_HALF, L=-_HALF, Lp=1))
_COMPLETE_HIDDEN = (Power(n=-_HALF), Power(n=1, L=1), Power(n=-_HALF))
_STANDARD_HIDDEN = (Power(n=-_HALF), Power(n=1), Power(n=_HALF))
_SQRT_DEPTH_HIDDEN = (Power(n=-_HALF, L=-_HALF), Power(n=1, L=1), Power(n=_HALF, L=_HALF))
_NTK_HIDDEN = (Power(n=-_HALF), _ONE, Power(n=-1))

_ROWS = (
    _row(
        "standard",
        _ONE,
        printed_name="SP",
        colour_key="grey",
        input=(Power(d=-_HALF), Power(d=1), Power(d=_HALF)),
        hidden_1=_STANDARD_HIDDEN,
        hidden_2=_STANDARD_HIDDEN,
        output=_STANDARD_HIDDEN,
    ),
    # Blocks shrink as under depth_mup, but no rate makes up for it: at a fixed rate there is no limit
    # L -> infinity, so the factor stands with the weights and not as the branch's.
    _row(
        "standard_sqrt_depth",
        _ONE,
        printed_name="SP, variance 1/L",
        colour_key="brown",
        input=(Power(d=-_HALF), Power(d=1), Power(d=_HALF)),
        hidden_1=_STANDARD_HIDDEN,
        hidden_2=_SQRT_DEPTH_HIDDEN,
        output=_STANDARD_HIDDEN,
    ),
    _row(
        "ntk",
        _ONE,
        printed_name="NTK",
        colour_key="pink",
        input=(Power(d=-_HALF), _ONE, Power(n=-_HALF)),
        hidden_1=_NTK_HIDDEN,
        hidden_2=_NTK_HIDDEN,
        output=(Power(n=-_HALF), _ONE, Power(n=-_HALF)),
    ),
    _row(
        "mup",
        _ONE,
        printed_name="μP",
        colour_key="orange",
        input=_MUP_INPUT,
        hidden_1=_MUP_HIDDEN,
        hidden_2=_MUP_HIDDEN,
        output=_MUP_OUTPUT,
    ),
    _row(
        "depth_mup",
        _SQRT_BRANCH,
        printed_name="Depth-μP",
        colour_key="blue",
        input=_MUP_INPUT,
        hidden_1=_DEPTH_HIDDEN,
        hidden_2=_DEPTH_HIDDEN,
        output=_MUP_OUTPUT,
    ),
    _row(
        "depth_mup_corrected",
        _SQRT_BRANCH,
        printed_name="corrected",
        long_name="corrected Depth-μP",
        colour_key="red",
        input=_MUP_INPUT,
        hidden_1=_CORRECTED_HIDDEN,
        hidden_2=_DEPTH_HIDDEN,
        output=_MUP_OUTPUT,
    ),
    _row(
        "complete_p",
        Power(T=1, L=-1),
        printed_name="CompleteP",
        colour_key="green",
        input=_MUP_INPUT,
        hidden_1=_COMPLETE_HIDDEN,
        hidden_2=_COMPLETE_HIDDEN,
        output=_MUP_OUTPUT,
    ),
)

PARAMETRIZATIONS: Mapping[str, Parametrization] = {row.name: row for row in _ROWS}

# The rows that have an infinite-width limit in which features move.
FEATURE_LEARNING: tuple[str, ...] = tuple(row.name for row in _ROWS if row.learns_features)
