"""Evidence as figures get it: made by the functions of the claims from tables whose law is known.

:func:`make` draws on :mod:`synthetic_tables`, with every kind of line that the presets have. It never
writes a row itself, so that what tests draw is what the pipeline draws.
"""

from functools import cache

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
Tables = tuple[pd.DataFrame, pd.DataFrame | None]


def make(figure: str, *, seeds: int = 5) -> pd.DataFrame:
    """The evidence of one figure; with a single seed there are no intervals."""
    return _made(figure, seeds).copy()


@cache
def _made(figure: str, seeds: int) -> pd.DataFrame:
    results, outputs = tables_of(FIGURES[figure].experiments[0])
    if seeds < 5:
        results = results[results["seed"] < seeds]
        outputs = None if outputs is None else outputs[outputs["seed"] < seeds]
    return gather(figure, results, outputs)


@cache
def tables_of(experiment: str) -> Tables:
    """Results and outputs of one experiment."""
    return {
        "gia_restoration": _gia_restoration,
        "scaling": _scaling,
        "limit_training": lambda: (synthetic.limit_training(), None),
        "limit_convergence": lambda: synthetic.limit_tables(limit_seeds=range(5)),
        "depth_transfer": _depth_transfer,
        "width_transfer": _width_transfer,
        "internal_collapse": _internal_collapse,
        "depth_transfer_2": _depth_transfer_2,
        "correction_exponent": _correction_exponent,
    }[experiment]()


def _together(*parts: pd.DataFrame) -> Tables:
    return pd.concat(parts, ignore_index=True), None


def _gia_restoration() -> Tables:
    """depth_mup whose gap stays, mup whose gap grows and that diverges at one depth, mup without skips."""
    parts = [
        synthetic.gia(gap=lambda L: 0.2 + 0.3 / L),
        synthetic.gia(gap=lambda L: 0.1 * L**0.35, parametrization="mup", depths=(2, 4, 8, 16)),
        synthetic.gia(gap=lambda L: 0.3 + 0 * L, parametrization="mup", skip=False),
    ]
    results, outputs = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    lost = (results["parametrization"] == "mup") & results["skip"] & (results["seed"] < 3)
    lost &= (results["depth"] == 16) & (results["learning_rate"] == 0.5)
    lost &= results["coupling"] == "standard"
    return synthetic.diverge(results, lambda frame: lost), outputs


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
    return _together(
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
    return _together(
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
    return _together(
        *(
            synthetic.changes({"own_change_1": -0.25 * number}, **network)
            for number, network in enumerate(_two_layers())
        )
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
    return _together(*parts)
