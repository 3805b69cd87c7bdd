"""Evidence as figures get it: made by the functions of the claims from tables whose law is known.

:func:`make` draws on :mod:`synthetic_tables`, with every kind of line that the presets have. It never
writes a row itself, so that what tests draw is what the pipeline draws.
"""

from functools import cache, partial

import numpy as np
import pandas as pd
import synthetic_tables as synthetic

from nfd.claims.registry import FIGURES, gather

DEPTHS = (4, 8, 16, 32, 64, 128)
CORRECTED = {"parametrization": "depth_mup_corrected", "correction": 0.5}
CONTROLS = (
    {"trainable": "hidden_1"},
    {"trainable": "hidden_2"},
    {"trainable": synthetic.ONE_LAYER},
)
BOTH = ("standard", "decoupled")
# Two samples that are learned and one that is looked at, for closed forms.
BATCH = (np.array([[1.0, 0.5, 0.0], [-0.2, 1.0, 1.0]]), np.eye(2), np.array([[0.5, 1.0, -1.0]]))
# What is trained -> how much further standard networks move their outputs; and what else differs.
RESPONSES = {
    "response_by_layer": (
        {"input": 1.6, "hidden_2": 1.3, "output": 1.0, synthetic.ONE_LAYER: 1.2},
        {},
    ),
    "response_at_small_horizon": ({synthetic.ONE_LAYER: 1.05}, {"horizon": 0.3}),
    "response_at_large_horizon": ({synthetic.ONE_LAYER: 1.5}, {"horizon": 3.0}),
    "response_of_tanh": ({synthetic.ONE_LAYER: 1.2}, {"activation": "tanh"}),
}
Tables = tuple[pd.DataFrame, pd.DataFrame | None]


def make(figure: str, *, seeds: int = 5) -> pd.DataFrame:
    """The evidence of one figure; with a single seed there are no intervals."""
    return _made(figure, seeds).copy()


@cache
def _made(figure: str, seeds: int) -> pd.DataFrame:
    tables = [tables_of(experiment) for experiment in FIGURES[figure].experiments]
    results = pd.concat([results for results, _ in tables], ignore_index=True)
    found = [outputs for _, outputs in tables if outputs is not None]
    outputs = pd.concat(found, ignore_index=True) if found else None
    batch = BATCH if FIGURES[figure].batch else None
    if seeds < 5:
        results = results[results["seed"] < seeds]
        outputs = None if outputs is None else outputs[outputs["seed"] < seeds]
    return gather(figure, results, outputs, batch)


@cache
def tables_of(experiment: str) -> Tables:
    """Results and outputs of one experiment."""
    return {
        "gia_restoration": _gia_restoration,
        **{name: partial(_responses, name) for name in RESPONSES},
        "scaling": _scaling,
        "limit_training": lambda: (synthetic.limit_training(), None),
        "limit_convergence": lambda: synthetic.limit_tables(fresh=0.4, limit_seeds=range(6)),
        "depth_transfer": _depth_transfer,
        "width_transfer": _width_transfer,
        "internal_collapse": _internal_collapse,
        "depth_transfer_2": _depth_transfer_2,
        "correction_exponent": _correction_exponent,
    }[experiment]()


def _together(*parts: pd.DataFrame) -> Tables:
    return pd.concat(parts, ignore_index=True), None


def _responses(experiment: str) -> Tables:
    """Every layer trained alone, or all of them at another T and with tanh."""
    ratios, changed = RESPONSES[experiment]
    depths = {} if len(ratios) > 1 else {"depths": (16,)}
    return synthetic.responses(ratios, experiment, **depths, **changed)


def response_by_layer() -> Tables:
    """All experiments of the figure of this name."""
    return _with_outputs([tables_of(experiment) for experiment in RESPONSES])


def _with_outputs(parts: list[Tables]) -> Tables:
    results, outputs = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return results, outputs


def _with_edge(*parts: pd.DataFrame) -> Tables:
    """All runs diverge at the largest rate: too close to the best rate of a line whose optimum moves up."""
    results = pd.concat(parts, ignore_index=True)
    return synthetic.diverge(results, lambda f: f["learning_rate"] >= 16), None


def _gia_restoration() -> Tables:
    """depth_mup whose gap stays, mup whose gap grows and that diverges at one depth, and both controls."""
    parts = [
        synthetic.gia(gap=lambda L: 0.2 + 0.3 / L, fresh=lambda L: 0.3 + 0.3 / L),
        synthetic.gia(gap=lambda L: 0 * L, fluctuation=0.0, trainable="output"),
        synthetic.gia(gap=lambda L: 0.1 * L**0.35, parametrization="mup", depths=(2, 4, 8, 16)),
        synthetic.gia(gap=lambda L: 0.3 + 0 * L, parametrization="mup", skip=False),
    ]
    results, outputs = _with_outputs(parts)
    lost = (results["parametrization"] == "mup") & results["skip"] & (results["seed"] < 3)
    lost &= (results["depth"] == 16) & (results["learning_rate"] == 0.5)
    lost &= results["coupling"] == "standard"
    results = synthetic.diverge(results, lambda frame: lost)
    kernels = synthetic.kernels(losses=False, rates=(0.25, 0.5))
    return pd.concat([results, kernels], ignore_index=True), outputs


def _scaling() -> Tables:
    laws = {"depth_mup": 0.5, "mup": 0.7, "complete_p": 0.4}
    return _together(
        *(
            synthetic.scaling(
                loss=lambda n, L, factor=factor: 0.3 + 2 * n**-0.7 + factor / L,
                parametrization=name,
            )
            for name, factor in laws.items()
        )
    )


def _depth_transfer() -> Tables:
    """mup's best rate falls with depth, and the shallowest network's diverges in the deepest."""
    drifts = {"depth_mup": 0.02, "mup": -0.9, "complete_p": 0.15}
    results, _ = _together(
        *(
            synthetic.transfer(
                "depth_transfer", "depth", parametrization=name, drift=drift, optimizer=optimizer
            )
            for name, drift in drifts.items()
            for optimizer in ("sgd", "adam")
        )
    )
    return synthetic.diverge(
        results,
        lambda f: (f["parametrization"] == "mup") & (f["learning_rate"] * f["depth"] > 32),
    ), None


def _width_transfer() -> Tables:
    drifts = {"depth_mup": 0.0, "mup": 0.05, "standard": -0.8, "ntk": 0.5}
    return _with_edge(
        *(
            synthetic.transfer(
                "width_transfer", "width", parametrization=name, drift=drift, optimizer=optimizer
            )
            for name, drift in drifts.items()
            for optimizer in ("sgd", "adam")
        )
    )


def _two_layers() -> list[dict[str, object]]:
    plain = [
        {"parametrization": "depth_mup", "couplings": BOTH},
        {**CORRECTED, "couplings": BOTH},
        {"parametrization": "complete_p"},
    ]
    return [{"block_layers": 2, **network} for network in plain]


def _depth_transfer_2() -> Tables:
    networks = [*_two_layers(), *({"block_layers": 2, **CORRECTED, **only} for only in CONTROLS)]
    return _with_edge(
        *(
            synthetic.transfer(
                "depth_transfer_2",
                "depth",
                sizes=DEPTHS,
                drift=-0.1 * number,
                level=0.5 - 0.05 * number,
                **network,
            )
            for number, network in enumerate(networks)
        )
    )


def _internal_collapse() -> Tables:
    """As theory has it: the correction keeps W1's own change, and makes both streams grow."""
    plain, corrected, complete = _two_layers()
    third = {**corrected, "couplings": ("fresh", "third")}
    grows = {"stream_change_1": 0.5, "gradient_change_1": 0.5}
    return _together(
        synthetic.changes({"own_change_1": -0.5, "own_change_2": -0.5}, **plain),
        synthetic.changes({"own_change_2": -0.5, **grows}, **corrected),
        synthetic.changes({"own_change_2": -0.5}, **third),
        synthetic.changes({}, **complete),
    )


def _correction_exponent() -> Tables:
    parts = []
    for p in (0.0, 0.25, 0.5):
        network = {"block_layers": 2, "parametrization": "depth_mup_corrected", "correction": p}
        rates = (2.0**-6, 2.0**-5)
        parts.append(
            synthetic.transfer("correction_exponent", "depth", sizes=DEPTHS, drift=-p, **network)
        )
        changed = synthetic.changes(
            {"output_change": p},
            experiment="correction_exponent",
            depths=DEPTHS,
            rates=rates,
            **network,
        )
        parts.append(changed[changed["metric"] != "loss"])
    return _with_edge(*parts)
