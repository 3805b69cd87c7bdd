"""Which runs a figure reads: rows of one experiment, values by seed, and the learning rate to read at.

A *cell* (CELL) is a run but for its seed. A run that diverged at any step is *lost* from the first: its
values never reach an average (:func:`cell_values`, :func:`grid_values`). Where an experiment has several
learning rates, the one to read at is chosen on training loss alone (:func:`reading_rates`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nfd.evidence.table import CELL, NETWORK
from nfd.network.parametrization import PARAMETRIZATIONS

# Parametrizations that have a limit of infinite depth at a fixed learning rate.
DEPTH_SCALED = tuple(name for name, row in PARAMETRIZATIONS.items() if row.has_depth_limit)


def pick_runs(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """One experiment's rows with a column ``lost``: the run diverged at some step."""
    data = results[results["experiment"] == experiment].reset_index(drop=True)
    if data.empty:
        return data.assign(lost=pd.Series(dtype=bool))
    for column in ("activation", "loss", "horizon"):
        if data[column].nunique() > 1:
            values = sorted(data[column].unique())
            raise ValueError(f"experiment {experiment}: column {column} mixes {values}; use one")
    run = data.groupby([*CELL, "seed"], sort=False).ngroup()
    evaluated = (data["metric"] == "loss") & data["split"].isin(["train", "test"])
    failed = data["diverged"].astype(bool) | (evaluated & ~np.isfinite(data["value"]))
    return data.assign(lost=failed.groupby(run).transform("any").to_numpy())


def pick_networks(data: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks, without those of limits."""
    return data[data["source"] == "network"]


def pick_metric(data: pd.DataFrame, metric: str, split: str = "probe") -> pd.DataFrame:
    """Rows of one metric on one split."""
    return data[(data["metric"] == metric) & (data["split"] == split)]


def pick_last(data: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last recorded step."""
    return data[data["step"] == data["step"].max()]


def first_step(data: pd.DataFrame) -> int:
    """The first recorded step after initialisation."""
    return int(data.loc[data["step"] > 0, "step"].min())


def each(data: pd.DataFrame, *columns: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Groups of equal ``columns`` as (dict of them, rows)."""
    for key, part in data.groupby(list(columns), sort=True):
        yield dict(zip(columns, key, strict=True)), part


# ----------------------------------------------------------------------------------- values by seed


def check_once(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError if two rows have equal ``columns``, the axes of a grid that is to be filled.

    Then one number would silently hide the other: a run is given twice, or runs differ in something that
    gives them no line of their own (LINE).
    """
    twice = data.duplicated(list(columns), keep=False)
    if twice.any():
        row = data[twice].iloc[0]
        what = row.get("metric", "outputs")
        where = ", ".join(f"{name} {row[name]}" for name in columns)
        raise ValueError(
            f"experiment {row['experiment']}: two values of {what} of {row['parametrization']} for {where}; "
            "a table is given twice, or runs differ in a column that no line of a figure is named after"
        )


def cell_values(data: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Cells (all but the seed) and their values (seeds, cells); NaN where a seed is absent or lost."""
    live = data[~data["lost"]]
    check_once(live, *CELL, "step", "split", "seed")
    wide = live.set_index([*CELL, "step", "split", "seed"])["value"].unstack("seed")
    return wide.index.to_frame(index=False), wide.to_numpy(float).T


def grid_values(data: pd.DataFrame, *axes: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Values of one line on a grid: the axes' values and an array (seeds, *axes)."""
    live = data[~data["lost"]]
    check_once(live, *axes, "seed")
    levels = [np.sort(live[axis].unique()) for axis in axes]
    seeds = np.sort(live["seed"].unique())
    array = np.full((len(seeds), *(len(level) for level in levels)), np.nan)
    places = [np.searchsorted(seeds, live["seed"])]
    places += [np.searchsorted(level, live[axis]) for axis, level in zip(axes, levels, strict=True)]
    array[tuple(places)] = live["value"]
    return levels, array


def seed_counts(values: np.ndarray) -> np.ndarray:
    """How many seeds (first axis) have a value."""
    return np.isfinite(values).sum(axis=0)


def pick_vectors(outputs: pd.DataFrame | None, runs: pd.DataFrame) -> pd.DataFrame:
    """Output rows of the live runs among ``runs``, with a column ``vector`` of float arrays."""
    key = ["experiment", *CELL, "seed"]
    live = runs.loc[~runs["lost"], key].drop_duplicates()
    if outputs is None:
        return live.iloc[:0].assign(step=[], vector=[])
    found = outputs.merge(live, on=key)
    check_once(found, *key, "step")
    vectors = [np.asarray(v, float) for v in found["outputs"]]
    finite = np.array([np.isfinite(v).all() for v in vectors], bool)
    return found.drop(columns="outputs").assign(vector=vectors)[finite]


# ------------------------------------------------------------------------------------ reading rates


def best_rates(data: pd.DataFrame, per: Sequence[str]) -> pd.DataFrame:
    """The learning rate of each group of equal ``per``: least final training loss, nothing diverged.

    Only rates at which every run of the group was tried and none diverged compete. The loss is that of the
    standard networks where there are any, averaged over seeds and then over the group's shapes.
    """
    key = [*per, "learning_rate"]
    runs = data.drop_duplicates([*CELL, "seed"])
    tried = runs.groupby(key)["lost"].agg(["any", "size"]).reset_index()
    complete = tried["size"] == tried.groupby(list(per))["size"].transform("max")
    candidates = tried.loc[complete & ~tried["any"], key]
    final = pick_last(pick_metric(data, "loss", "train")).merge(candidates, on=key)
    standard = (final["coupling"] == "standard").groupby([final[c] for c in per]).transform("any")
    final = final[(final["coupling"] == "standard") | ~standard]
    if final.empty:
        return pd.DataFrame(columns=key)
    by_cell = final.groupby(list(CELL))["value"].mean().reset_index()
    scores = by_cell.groupby(key)["value"].mean().reset_index()
    return scores.loc[scores.groupby(list(per))["value"].idxmin(), key]


def reading_rates(networks: pd.DataFrame) -> pd.DataFrame:
    """At which learning rate each network and shape is read, where an experiment has several.

    Fixed in advance, on training loss alone: a parametrization with a limit of infinite depth at fixed
    rate (DEPTH_SCALED, with skips) is read at one rate for all its shapes and couplings; any other network,
    whose stable rates shrink with depth, at each shape's own. Either way the rate with the least final
    training loss of the standard networks among those at which no run diverged. If no common rate
    survives, the former fall back on the latter; a shape without any rate is left out.
    """
    shape = [*NETWORK, "width", "depth"]
    shapes = networks[shape].drop_duplicates()
    own = shapes.merge(best_rates(networks, shape), on=shape, how="left")
    common = shapes.merge(best_rates(networks, NETWORK), on=list(NETWORK), how="left")
    scaled = shapes["parametrization"].isin(DEPTH_SCALED).to_numpy() & shapes["skip"].to_numpy(bool)
    chosen = np.where(
        scaled & common["learning_rate"].notna(), common["learning_rate"], own["learning_rate"]
    )
    return own.assign(learning_rate=chosen.astype(float)).dropna(subset="learning_rate")


def at_reading_rate(data: pd.DataFrame) -> pd.DataFrame:
    """Networks at their reading rate, and the limits that were simulated at it."""
    rates = reading_rates(pick_networks(data))
    networks = pick_networks(data).merge(rates, on=list(rates.columns))
    common = rates[[*NETWORK, "learning_rate"]].drop_duplicates()
    limits = data[data["source"] == "limit"].merge(common, on=list(common.columns))
    return pd.concat([networks, limits], ignore_index=True)
