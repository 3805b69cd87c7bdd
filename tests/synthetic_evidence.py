"""Evidence tables with known numbers, one per figure, following the docstrings of nfd.evidence.

The curves are simple power laws, so a reader of a picture drawn from them knows what it should show.
``make(figure)`` gives a table such as the pipeline writes; the keywords make it smaller or uglier.
"""

from collections.abc import Callable, Iterable, Iterator
from math import exp, inf, log2, nan, sqrt

import pandas as pd

from nfd.evidence.table import COLUMNS, typed

Row = dict[str, object]

DEPTHS = (2, 4, 8, 16, 32, 64)
WIDTHS = (32, 64, 128, 256)
STEPS = (0, 1, 2, 5, 10, 20, 40, 70, 100)
PARTICLES = 100_000


def make(figure: str, *, seeds: int = 5) -> pd.DataFrame:
    """The evidence of one figure; with a single seed there are no intervals."""
    table = pd.DataFrame(list(_MAKERS[figure]()), columns=list(COLUMNS))
    table = typed(table)
    table.loc[table["seeds"].notna(), "seeds"] = seeds
    if seeds < 2:
        table[["ci_low", "ci_high"]] = nan
    return typed(table)


def series_name(
    parametrization: str,
    *,
    correction: float = 0.0,
    skip: bool = True,
    trainable: str = "",
    coupling: str = "standard",
) -> str:
    """The label of one line, as nfd.evidence builds it."""
    name = parametrization
    if parametrization == "depth_mup_corrected":
        name += f" p={correction:g}"
    if not skip:
        name += ", no skip"
    if trainable:
        name += f", trained: {trainable}"
    return name + (", decoupled" if coupling == "decoupled" else "")


def _network(parametrization: str, **what: object) -> Row:
    """Columns that identify a line of the figure."""
    coupling = what.get("coupling", "standard")
    identity: Row = {
        "series": series_name(parametrization, **{k: v for k, v in what.items() if k in _NAMED}),
        "parametrization": parametrization,
        "correction": 0.0,
        "block_layers": 1,
        "skip": True,
        "trainable": "input+hidden_2+output",
        "optimizer": "sgd",
        **what,
        "coupling": coupling,
    }
    identity["trainable"] = identity["trainable"] or "input+hidden_1+hidden_2+output"
    return identity


_NAMED = ("correction", "skip", "trainable", "coupling")


def _row(
    quantity: str,
    estimate: float,
    *columns: Row,
    source: str = "network",
    spread: float = 0.06,
    seeds: int | None = 5,
    **more: object,
) -> Row:
    """One row; the interval is ``estimate`` (1 +- ``spread``) for measured and fitted numbers."""
    row: Row = {"quantity": quantity, "estimate": estimate, "source": source, "seeds": seeds}
    for part in columns:
        row |= part
    row |= more
    if source != "closed_form":
        half = abs(estimate) * spread
        row |= {"ci_low": estimate - half, "ci_high": estimate + half}
    return row


def _fitted(quantity: str, low: float, estimate: float, high: float, *columns: Row) -> Row:
    return _row(quantity, estimate, *columns, source="fit") | {"ci_low": low, "ci_high": high}


def _curve(start: float, floor: float, step: float, rate: float = 0.06) -> float:
    return floor + (start - floor) * exp(-rate * step)


def _gia_restoration() -> Iterator[Row]:
    kinds = (
        ({"parametrization": "depth_mup"}, DEPTHS, 0.18, 0.0),
        ({"parametrization": "mup"}, (2, 4, 8, 16), 0.25, 0.35),
        ({"parametrization": "mup", "skip": False}, DEPTHS, 0.3, 0.5),
    )
    for kind, depths, gap, growth in kinds:
        name = kind["parametrization"]
        rest = {key: value for key, value in kind.items() if key != "parametrization"}
        for coupling in ("standard", "decoupled"):
            network = _network(name, coupling=coupling, width=128, learning_rate=0.25, **rest)
            for depth in depths:
                slower = 1 if coupling == "standard" else 1 / (1 + 2 * growth)
                for step in STEPS:
                    loss = _curve(2.3, 0.9 * depth**-0.2, step, 0.05 * slower)
                    yield _row("train_loss", loss, network, depth=depth, step=step, split="train")
                    yield _row(
                        "test_loss", loss + 0.1, network, depth=depth, step=step, split="test"
                    )
        pair = _network(name, width=128, learning_rate=0.25, **rest) | {"coupling": nan}
        for depth in depths:
            for step, factor in ((1, 1.0), (100, 1.3)):
                value = factor * gap * (depth / 2) ** growth
                yield _row("output_gap", value, pair, depth=depth, step=step, split="probe")
                yield _row("output_gap", value, pair, depth=depth, step=step, source="fit")
                yield _row("output_gap_mean", 0.8 * value, pair, depth=depth, step=step)
            value = 0.2 * gap * (depth / 2) ** growth
            yield _row("loss_gap", value, pair, depth=depth, step=100, split="train", spread=0.4)
            yield _row("loss_gap", value, pair, depth=depth, step=100, source="fit")
        for quantity in ("output_gap", "output_gap_mean", "loss_gap"):
            yield _fitted(f"{quantity}_limit", 0.15, 0.18, 0.21, pair, {"step": 100})
            yield _fitted(f"{quantity}_exponent", 0.2, 0.5, 0.9, pair, {"step": 100})
    yield _row(
        "diverged_runs", 3, _network("mup", coupling="standard"), width=128, depth=16,
        learning_rate=1.0, spread=nan,
    )  # fmt: skip
    for depth in DEPTHS:
        yield from _first_step(depth)


def _first_step(depth: int, q: float = 0.5) -> Iterator[Row]:
    """docs/theory.md, section 5, with T = 1."""
    growth = (1 + q / depth) ** depth
    changes = {
        "hidden, standard": q * (1 + q / depth) ** (depth - 1),
        "hidden, decoupled": growth - 1,
        "input, standard": growth,
        "input, decoupled": 1.0,
        "output, both": growth,
    }
    for series, value in changes.items():
        yield _row(
            "first_step_change", value, source="closed_form", series=series, depth=depth, seeds=None
        )
    standard = changes["hidden, standard"] + 2 * growth
    decoupled = changes["hidden, decoupled"] + 1 + growth
    yield _row(
        "output_gap", 1 - decoupled / standard, source="closed_form", series="closed form",
        depth=depth, step=1, seeds=None,
    )  # fmt: skip


_ALL = ("standard", "ntk", "mup", "depth_mup", "complete_p")


def _final_loss(name: str, width: float, depth: float) -> float:
    floor = 0.2 + 0.05 * _ALL.index(name)
    deep = depth**-0.5 if name in ("depth_mup", "complete_p") else 0.3 * depth**0.2
    return floor + 4 * width**-0.7 + 0.3 * deep


def _scaling_trend() -> Iterator[Row]:
    for name in _ALL:
        network = _network(name, learning_rate=0.25)
        for width in WIDTHS:
            for depth in (2, 4, 8, 16, 32):
                shape = {"width": width, "depth": depth}
                final = _final_loss(name, width, depth)
                for step in STEPS:
                    loss = _curve(2.3, final, step)
                    yield _row("train_loss", loss, network, shape, step=step, split="train")
                    yield _row("test_loss", loss * 1.1, network, shape, step=step, split="test")
                yield _row("final_train_loss", final, network, shape, step=100, split="train")
                yield _row("final_test_loss", final * 1.1, network, shape, step=100, split="test")
                yield _row(
                    "final_test_accuracy", 1 - final / 3, network, shape, step=100, split="test",
                    spread=0.01,
                )  # fmt: skip
                yield _row("flops", 6e4 * width**2 * depth, network, shape, step=100, split="none")
        yield from _gains(network, _final_loss_of(name))
    for coupling in ("standard", "decoupled"):
        limit = _network("depth_mup", coupling=coupling, width=PARTICLES, learning_rate=0.25)
        for depth in (2, 8, 32):
            final = _final_loss("depth_mup", inf, depth) * (1 if coupling == "standard" else 1.05)
            yield _row("final_train_loss", final, limit, depth=depth, step=100, source="limit")
            for step in STEPS:
                yield _row(
                    "train_loss", _curve(2.3, final, step), limit, depth=depth, step=step,
                    source="limit", split="train",
                )  # fmt: skip


def _final_loss_of(name: str) -> Callable[[float, float], float]:
    return lambda width, depth: _final_loss(name, width, depth)


def _gains(network: Row, loss: Callable[[float, float], float]) -> Iterator[Row]:
    for split in ("train", "test"):
        for width in WIDTHS[1:]:
            gain = 1 - loss(width, 8) / loss(width / 2, 8)
            yield _row(f"{split}_loss_gain_width", gain, network, width=width, spread=0.3)
        for depth in (4, 8, 16, 32):
            gain = 1 - loss(128, depth) / loss(128, depth / 2)
            yield _row(f"{split}_loss_gain_depth", gain, network, depth=depth, spread=0.5)
        for size in ("width", "depth"):
            yield _fitted(f"{split}_loss_gain_{size}_mean", 0.05, 0.1, 0.15, network)


def _diminishing_returns() -> Iterator[Row]:
    for number, name in enumerate(_ALL):
        network = _network(name, learning_rate=0.25)
        floor = 0.2 + 0.05 * number
        for width in WIDTHS:
            for depth in (2, 4, 8, 16, 32):
                shape = {"width": width, "depth": depth, "step": 100}
                loss = _final_loss(name, width, depth)
                yield _row("final_train_loss", loss, network, shape)
                yield _row("final_train_loss", loss, network, shape, source="fit")
                yield _row("excess_train_loss", loss - floor, network, shape)
        yield _fitted("limit_loss", floor * 0.9, floor, floor * 1.1, network)
        for size, exponent in (("width", 0.7), ("depth", 0.5)):
            wide = 0.1 + 0.05 * number
            yield _fitted(f"{size}_exponent", exponent - wide, exponent, exponent + wide, network)
            yield _fitted(f"{size}_amplitude", 0.8, 1.0, 1.2, network)
            yield _fitted(f"gain_decline_{size}", -0.01, 0.03, 0.06, network)
    for coupling in ("standard", "decoupled"):
        limit = _network("depth_mup", coupling=coupling, width=PARTICLES, source="limit")
        yield _row("limit_loss", 0.34, limit, source="limit")
        for depth in (2, 8, 32):
            final = _final_loss("depth_mup", inf, depth) * (1 if coupling == "standard" else 1.05)
            yield _row("final_train_loss", final, limit, depth=depth, step=100, source="limit")


def _limit_convergence() -> Iterator[Row]:
    widths, depths = (32, 64, 128, 256, 512), (2, 4, 8, 16, 32)
    kinds = (
        ("standard to NFD", "standard", 0.15),
        ("standard to coupled limit", "standard", 0.0),
        ("decoupled to NFD", "decoupled", 0.0),
    )
    for series, coupling, plateau in kinds:
        network = _network("depth_mup", coupling=coupling, learning_rate=0.25) | {"series": series}
        for depth in depths:
            for width in widths:
                shape = {"width": width, "depth": depth, "step": 100, "split": "probe"}
                bias = sqrt(plateau**2 + (8 / width) ** 2)
                for source in ("network", "fit"):
                    yield _row("bias_over_width", bias, network, shape, source=source, spread=0.2)
                yield _row("bias_over_width_floor", 0.3 / sqrt(width), network, shape)
                for step, start in ((0, 0.5), (100, 1.0)):
                    value = start * 2 / sqrt(width)
                    yield _row("fluctuation_over_width", value, network, shape, step=step)
                    yield _row(
                        "fluctuation_over_width", value, network, shape, step=step, source="fit"
                    )
            yield _fitted("bias_over_width_slope", -1.2, -1, -0.8, network, {"depth": depth})
            widest = {"width": 512, "depth": depth, "step": 100, "split": "probe"}
            bias = sqrt(plateau**2 + (0.6 / depth) ** 2)
            yield _row("bias_over_depth", bias, network, widest, spread=0.2)
            yield _row("bias_over_depth", bias, network, widest, source="fit")
            yield _row("bias_over_depth_floor", 0.02, network, widest)
            yield _row("fluctuation_over_depth", 0.1, network, widest, spread=0.1)
            if series != "standard to NFD":
                particles = widest | {"width": PARTICLES}
                yield _row("bias_over_depth", 0.6 / depth, network, particles, source="limit")
                yield _row("bias_over_depth_floor", 0.005, network, particles, source="limit")
        yield _fitted("bias_over_depth_slope", -1.1, -1, -0.9, network, {"step": 100})
        yield _fitted("bias_over_depth_plateau", plateau, plateau, plateau + 0.02, network)
        at_infinity = max(plateau, 0.02)
        last = {"width": 512, "step": 100, "split": "probe"}
        yield _row("bias_at_infinite_depth", at_infinity, network, last, spread=0.3)
        yield _fitted("bias_over_depth_exponent", 0.8, 1.0, 1.3, network)
    for coupling in ("standard", "decoupled"):
        network = _network("depth_mup", coupling=coupling, learning_rate=0.25)
        for depth in depths:
            for step in STEPS:
                loss = _curve(0.5, 0.1 + 0.2 / depth, step) * (1 + 0.1 * (coupling == "decoupled"))
                at = {"depth": depth, "step": step, "split": "train"}
                yield _row("train_loss", loss * 1.05, network, at, width=512)
                yield _row("train_loss", loss, network, at, width=PARTICLES, source="limit")


def _vanishing_mechanism() -> Iterator[Row]:
    for coupling in ("standard", "decoupled"):
        network = _network("depth_mup", coupling=coupling, learning_rate=0.25)
        for source, width in (("network", 512), ("limit", PARTICLES)):
            for depth in DEPTHS:
                for quantity, power in (("coupling_layer", -1), ("coupling_accumulated", -0.5)):
                    created = (1.0 if coupling == "standard" else 0.8) * depth**power
                    start = width**-0.5 * (1 if quantity == "coupling_layer" else 1.5)
                    for step in STEPS:
                        value = sqrt(start**2 + (created * (1 - exp(-step / 20))) ** 2)
                        yield _row(
                            quantity, value, network, width=width, depth=depth, step=step,
                            split="probe", source=source,
                        )  # fmt: skip
                    last = {"width": width, "depth": depth, "step": 100}
                    yield _row(f"{quantity}_created", created, network, last, source=source)
                    yield _row(f"{quantity}_created_floor", start, network, last, source=source)
                    if source == "network":
                        yield _row(f"{quantity}_created", created, network, last, source="fit")
        for quantity, power in (("coupling_layer", -1), ("coupling_accumulated", -0.5)):
            yield _fitted(f"{quantity}_created_slope", power - 0.1, power, power + 0.1, network)


def _coupling_at_init() -> Iterator[Row]:
    network = _network("depth_mup", step=0)
    for quantity, size in (("coupling_layer", 0.7), ("coupling_accumulated", 1.0)):
        for depth in (2, 8, 32):
            for width in WIDTHS:
                value = size * width**-0.5 * (1 + 0.1 * log2(depth))
                shape = {"width": width, "depth": depth}
                yield _row(quantity, value, network, shape)
                yield _row(quantity, value, network, shape, source="fit")
            slope = -1.0 + 0.002 * depth
            yield _fitted(
                f"{quantity}_square_slope", slope - 0.06, slope, slope + 0.07, network,
                {"depth": depth},
            )  # fmt: skip
        yield _fitted(f"{quantity}_depth_slope", 0.0, 0.04, 0.09, network, {"width": 256})


def _kernel_spectrum() -> Iterator[Row]:
    for coupling in ("standard", "decoupled"):
        network = _network("depth_mup", coupling=coupling, learning_rate=0.25)
        shapes = [("network", width, depth) for width in WIDTHS for depth in (2, 8, 32)]
        shapes += [("limit", PARTICLES, depth) for depth in (2, 8, 32)]
        for source, width, depth in shapes:
            start = 0.2 * (1 - 16 / width) * (1 + 0.1 * log2(depth))
            values = [start * (1 - 0.3 * (1 - exp(-step / 30))) for step in STEPS]
            shape = {"width": width, "depth": depth, "source": source}
            for step, value in zip(STEPS, values, strict=True):
                yield _row("kernel_min_eigenvalue", value, network, shape, step=step) | shape
            yield _row("kernel_minimum", min(values), network) | shape
            yield _row("kernel_ratio", min(values) / values[0], network) | shape


RATES = tuple(2.0**k for k in range(-7, 3))


def _transfer(
    size: str, sizes: Iterable[int], networks: dict[str, tuple[Row, float]]
) -> Iterator[Row]:
    """Parabolas in log2 rate whose minimum drifts by a known slope in log2 size."""
    for network, drift in networks.values():
        best, losses = {}, {}
        for value in sizes:
            best[value] = -2.5 + drift * log2(value / 2)
            at = {size: value, "step": 100}
            for rate in RATES:
                loss = 0.2 + 0.6 * value**-0.3 + 0.05 * (log2(rate) - best[value]) ** 2
                diverged = log2(rate) > best[value] + 3.2
                losses[value, rate] = nan if diverged else loss
                for split in ("train", "test"):
                    yield _row(
                        f"final_{split}_loss", losses[value, rate], network, at,
                        learning_rate=rate, split=split,
                    )  # fmt: skip
                if diverged:
                    yield _row("diverged_runs", 5, network, at, learning_rate=rate, spread=nan)
            stable = [rate for rate in RATES if losses[value, rate] == losses[value, rate]]
            grid_best = min(stable, key=lambda rate: losses[value, rate])
            edge = grid_best in (RATES[0], RATES[-1])
            optimum = {"ci_low": 2 ** (best[value] - 0.2), "ci_high": 2 ** (best[value] + 0.2)}
            if edge:
                optimum = {"ci_low": nan, "ci_high": nan}
            yield (
                _row("best_learning_rate", nan if edge else 2 ** best[value], network, at)
                | {"learning_rate": grid_best}
                | optimum
            )
            yield _row("best_learning_rate", 2 ** best[value], network, at, source="fit")
            yield (
                _row("best_train_loss", losses[value, grid_best], network, at)
                | {"learning_rate": grid_best}
            )
            if value == min(sizes):
                first = grid_best
            moved = losses[value, first]
            regret = inf if moved != moved else moved / losses[value, grid_best] - 1
            yield (_row("regret", regret, network, at, spread=0.3) | {"learning_rate": first})
        yield _fitted("drift", drift - 0.1, drift, drift + 0.1, network)
        yield _fitted("grid_spacing", nan, 1.0, nan, network)


def _depth_transfer() -> Iterator[Row]:
    for optimizer in ("sgd", "adam"):
        networks = {
            name: (_network(name, optimizer=optimizer, width=128), drift)
            for name, drift in (("depth_mup", 0.02), ("mup", -0.9), ("complete_p", 0.15))
        }
        yield from _transfer("depth", DEPTHS, networks)


def _width_transfer() -> Iterator[Row]:
    for optimizer in ("sgd", "adam"):
        drifts = (("depth_mup", 0.0), ("mup", 0.05), ("standard", -0.8), ("ntk", 0.5))
        networks = {
            name: (_network(name, optimizer=optimizer, depth=4), drift) for name, drift in drifts
        }
        yield from _transfer("width", WIDTHS, networks)


def _two_layer(name: str, **what: object) -> Row:
    return _network(name, **{"block_layers": 2, "trainable": "", "width": 128, **what})


def _depth_transfer_2() -> Iterator[Row]:
    yield from _transfer("depth", (4, 8, 16, 32, 64, 128), _two_layer_networks())


def _two_layer_networks() -> dict[str, tuple[Row, float]]:
    corrected = {"correction": 0.5}
    frozen = "input+hidden_2+output"
    choices = (
        ("depth_mup", {}, 0.3),
        ("depth_mup_corrected", corrected, -0.4),
        ("complete_p", {}, 0.05),
        ("depth_mup", {"coupling": "decoupled"}, 0.45),
        ("depth_mup_corrected", corrected | {"coupling": "decoupled"}, 0.0),
        ("depth_mup_corrected", corrected | {"trainable": "hidden_1"}, -0.5),
        ("depth_mup_corrected", corrected | {"trainable": "hidden_2"}, 0.0),
        ("depth_mup_corrected", corrected | {"trainable": frozen}, 0.1),
    )
    rows = [(_two_layer(name, **what), drift) for name, what, drift in choices]
    return {str(row["series"]): (row, drift) for row, drift in rows}


def _internal_collapse() -> Iterator[Row]:
    depths = (4, 8, 16, 32, 64, 128, 256)
    networks = (
        (_two_layer("depth_mup"), -0.5),
        (_two_layer("depth_mup_corrected", correction=0.5), 0.0),
        (_two_layer("complete_p"), 0.0),
        (_two_layer("depth_mup", coupling="decoupled"), -0.5),
    )
    for network, slope in networks:
        powers = {
            "own_change_1": slope, "own_change_2": -0.5, "inherited_change_1": 0.0,
            "inherited_change_2": slope, "stream_change_1": slope + 0.5, "stream_change_2": 0.02,
            "output_change": max(slope + 0.5, 0.0),
        }  # fmt: skip
        for quantity, power in powers.items():
            for step, size in ((1, 0.2), (10, 0.9)):
                at = {"step": step, "split": "probe", "learning_rate": 0.25}
                for depth in depths:
                    value = size * (depth / 4) ** power
                    yield _row(quantity, value, network, at, depth=depth)
                    yield _row(quantity, value, network, at, depth=depth, source="fit")
                yield _fitted(f"{quantity}_slope", power - 0.05, power, power + 0.05, network, at)


def _deeper_is_better() -> Iterator[Row]:
    losses = {"depth_mup": 0.25, "depth_mup_corrected": 0.45, "complete_p": 0.4}
    for name, power in losses.items():
        what = {"correction": 0.5} if name == "depth_mup_corrected" else {}
        network = _two_layer(name, **what)
        for depth in (4, 8, 16, 32, 64, 128):
            loss = 0.6 * depth**-power
            yield _row("best_train_loss", loss, network, depth=depth, step=100)
            yield _row("best_test_loss", loss * 1.2, network, depth=depth, step=100)
            if name != "depth_mup":
                advantage = (power - 0.25) * log2(depth)
                yield _row("advantage", advantage, network, depth=depth, spread=0.2)
            if depth > 4:
                gain = 1 - 2**-power
                yield _row("train_loss_gain_depth", gain, network, depth=depth, spread=0.2)
        yield _fitted("train_loss_gain_depth_mean", 0.1, 0.2, 0.3, network)
        if name != "depth_mup":
            yield _fitted("advantage_mean", 0.1, 0.2, 0.3, network)


def _correction_exponent() -> Iterator[Row]:
    depths = (4, 8, 16, 32, 64, 128)
    networks = {
        p: (_two_layer("depth_mup_corrected", correction=p), 0.1 - p) for p in (0.0, 0.25, 0.5)
    }
    yield from _transfer("depth", depths, networks)
    for p, (network, _) in networks.items():
        at = {"learning_rate": RATES[0], "step": 1, "split": "probe"}
        for depth in depths:
            for source in ("network", "fit"):
                yield _row(
                    "first_step_output_change", 0.02 * depth**p, network, at, depth=depth,
                    source=source,
                )  # fmt: skip
        yield _fitted("first_step_output_change_slope", p - 0.03, p, p + 0.03, network, at)


_MAKERS: dict[str, Callable[[], Iterator[Row]]] = {
    "gia_restoration": _gia_restoration,
    "scaling_trend": _scaling_trend,
    "diminishing_returns": _diminishing_returns,
    "limit_convergence": _limit_convergence,
    "vanishing_mechanism": _vanishing_mechanism,
    "coupling_at_init": _coupling_at_init,
    "kernel_spectrum": _kernel_spectrum,
    "depth_transfer": _depth_transfer,
    "width_transfer": _width_transfer,
    "internal_collapse": _internal_collapse,
    "depth_transfer_2": _depth_transfer_2,
    "deeper_is_better": _deeper_is_better,
    "correction_exponent": _correction_exponent,
}
