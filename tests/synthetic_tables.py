"""Tables that obey the contract of pipeline.tables and whose answer is known: for the statistics and claims.

Each function makes one experiment's results (and outputs) from a law with given exponents, noise and
seeds, so that a test can ask whether the evidence finds the law and the claim its verdict. Noise is
multiplicative and normal on the log scale; part of it is shared by all runs of a seed, as in training.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np
import pandas as pd

from nfd.pipeline.tables import IDENTITY, OUTPUT_COLUMNS, RESULT_COLUMNS
from nfd.seeds import generator

ONE_LAYER = "input+hidden_2+output"
TWO_LAYERS = "input+hidden_1+hidden_2+output"
SEEDS = range(5)
Values = Callable[[pd.DataFrame], np.ndarray]


def runs(
    experiment: str,
    *,
    parametrization: str = "depth_mup",
    correction: float = 0.0,
    block_layers: int = 1,
    skip: bool = True,
    optimizer: str = "sgd",
    trainable: str | None = None,
    source: str = "network",
    couplings: Iterable[str] = ("standard",),
    widths: Iterable[int] = (64,),
    depths: Iterable[int] = (8,),
    rates: Iterable[float] = (0.5,),
    seeds: Iterable[int] = SEEDS,
) -> pd.DataFrame:
    """Identities of runs: all combinations, one row each."""
    axes = list(product(couplings, widths, depths, rates, seeds))
    frame = pd.DataFrame(axes, columns=["coupling", "width", "depth", "learning_rate", "seed"])
    fixed = {
        "experiment": experiment,
        "source": source,
        "parametrization": parametrization,
        "correction": correction,
        "block_layers": block_layers,
        "skip": skip,
        "activation": "relu",
        "horizon": 1.0,
        "loss": "cross_entropy",
        "optimizer": optimizer,
        "trainable": trainable or (TWO_LAYERS if block_layers == 2 else ONE_LAYER),
    }
    return frame.assign(**fixed)[list(IDENTITY)]


def measured(
    identities: pd.DataFrame, metric: str, split: str, steps: Sequence[int], values: Values
) -> pd.DataFrame:
    """Rows of one metric; ``values`` maps a frame of runs and steps to numbers."""
    frame = identities.merge(pd.DataFrame({"step": steps}), how="cross")
    frame = frame.assign(split=split, metric=metric, value=values(frame), diverged=False)
    return frame[list(RESULT_COLUMNS)]


def noise(frame: pd.DataFrame, sd: float, *names: str, shared: float = 0.0) -> np.ndarray:
    """Factor exp(normal): ``sd`` of each row's own, ``shared`` common to all networks of a seed."""
    own = generator(1, "noise", *names).normal(size=len(frame)) * sd
    by_seed = generator(2, "noise", names[0]).normal(size=1000) * shared
    return np.exp(own + by_seed[frame["seed"].to_numpy()])


def diverge(results: pd.DataFrame, where: Values) -> pd.DataFrame:
    """The same runs with those that ``where`` selects (from rows to booleans) diverged after step 0."""
    lost = np.asarray(where(results), bool) & (results["step"].to_numpy() > 0)
    return results.assign(
        value=np.where(lost, np.nan, results["value"]), diverged=results["diverged"] | lost
    )


# ------------------------------------------------------------------------------------------- transfer

LOG2_RATES = np.arange(-6, 5)


def transfer(
    experiment: str,
    axis: str,
    *,
    drift: float = 0.0,
    start: float = 0.3,
    sizes: Sequence[int] = (4, 8, 16, 32, 64),
    curvature: float = 0.1,
    gain: float = 0.05,
    level: float = 0.5,
    sd: float = 0.01,
    log2_rates: Sequence[float] = LOG2_RATES,
    **network: object,
) -> pd.DataFrame:
    """Losses with their optimum at log2 rate = ``start`` + ``drift`` log2(size / first size).

    ``curvature``: log loss per squared factor of two in rate; ``gain``: log loss per doubling.
    """
    sizes_of = {"depths": sizes, "widths": (64,)} if axis == "depth" else {"widths": sizes}
    rates = 2.0 ** np.asarray(log2_rates, float)
    identities = runs(experiment, rates=rates, **{**sizes_of, **network})

    def loss(frame: pd.DataFrame) -> np.ndarray:
        doublings = np.log2(frame[axis] / sizes[0])
        away = np.log2(frame["learning_rate"]) - start - drift * doublings
        trained = level * np.exp(curvature * away**2 - gain * doublings)
        trained *= noise(frame, sd, experiment, str(network), shared=0.05)
        # Log loss falls with the root of the step, down to that of the last.
        share = np.sqrt(frame["step"] / 100)
        return np.where(frame["step"] == 0, 2.3, 2.3 * (trained / 2.3) ** share)

    def accuracy(frame: pd.DataFrame) -> np.ndarray:
        return np.exp(-loss(frame))

    steps = [0, 1, 6, 25, 100]
    parts = [measured(identities, "loss", split, steps, loss) for split in ("train", "test")]
    parts.append(measured(identities, "accuracy", "test", steps, accuracy))
    return pd.concat(parts, ignore_index=True)


# ---------------------------------------------------------------------------------------- gia_restoration


def gia(
    *,
    gap: Callable[[np.ndarray], np.ndarray],
    loss_gap: Callable[[np.ndarray], np.ndarray] | None = None,
    fluctuation: float = 0.05,
    batches: float = 0.0,
    late: float = 1.0,
    fresh: Callable[[np.ndarray], np.ndarray] | None = None,
    depths: Sequence[int] = (2, 4, 8, 16, 32, 64),
    seeds: Iterable[int] = SEEDS,
    rates: Sequence[float] = (0.25, 0.5),
    entries: int = 60,
    **network: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Standard and decoupled runs whose mean outputs differ by ``gap(depth)`` relative to their change.

    ``fluctuation``: size of the part of the difference that is random over seeds. ``batches``: size of a
    part of the change that is random over seeds and the same for both couplings. ``loss_gap``: relative loss
    gap, by default equal to the gap. ``late``: factor on the gap after the first step. ``fresh``: the gap of
    networks with fresh copies, if there are any. The loss falls by a tenth, a half and all of its fall by
    the steps 1, 10 and 100. The rate 0.5 trains best.
    """
    experiment, steps = "gia_restoration", [0, 1, 10, 100]
    gaps = {"decoupled": gap, **({"fresh": fresh} if fresh else {})}
    identities = runs(
        experiment,
        couplings=("standard", *gaps),
        depths=depths,
        rates=rates,
        seeds=seeds,
        **network,
    )
    loss_gap = loss_gap or gap

    def loss(frame: pd.DataFrame) -> np.ndarray:
        best = 0.5 + 0.3 * np.abs(np.log2(frame["learning_rate"] / 0.5))
        apart = (frame["coupling"] != "standard").to_numpy()
        fallen = frame["step"].map({0: 0.0, 1: 0.1, 10: 0.5, 100: 1.0}) * (2.3 - best)
        shift = apart * loss_gap(frame["depth"].to_numpy(float)) * fallen
        jitter = generator(3, "loss", str(network)).normal(size=len(frame)) * 0.004
        return np.where(frame["step"] == 0, 2.3, 2.3 - fallen + shift + jitter)

    results = pd.concat(
        [measured(identities, "loss", split, steps, loss) for split in ("train", "test")]
    )
    random = generator(4, "outputs", str(network))
    common, direction = random.normal(size=(2, entries))
    common *= np.sqrt(entries) / np.linalg.norm(common)
    direction -= common * (common @ direction) / entries
    direction *= np.sqrt(entries) / np.linalg.norm(direction)
    frame = identities.merge(pd.DataFrame({"step": steps}), how="cross")
    vectors = []
    for row in frame.itertuples():
        # f^0 is the same for both couplings of a seed.
        start = 0.1 * generator(5, row.seed, row.depth).normal(size=entries)
        change = np.zeros(entries)
        if row.step > 0:
            change = common + batches * generator(6, row.seed, row.depth).normal(size=entries)
            if row.coupling != "standard":
                factor = late if row.step > 1 else 1.0
                change += direction * gaps[row.coupling](float(row.depth)) * factor
                change += random.normal(size=entries) * fluctuation
        vectors.append(start + change)
    outputs = frame.assign(outputs=vectors)[list(OUTPUT_COLUMNS)]
    return results.reset_index(drop=True), outputs


# -------------------------------------------------------------------------------------- response_by_layer


def responses(
    ratios: dict[str, float],
    experiment: str = "response_by_layer",
    *,
    depths: Sequence[int] = (4, 16, 64),
    fluctuation: float = 0.05,
    entries: int = 60,
    **settings: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Standard networks that move their mean outputs ``ratios[trained]`` times as far as decoupled ones.

    ``settings``: columns of the runs, such as horizon and activation.
    """
    steps = [0, 1, 4]
    couplings = ("standard", "decoupled")
    parts = [
        runs(experiment, couplings=couplings, depths=depths, rates=(0.01,), trainable=trained)
        for trained in ratios
    ]
    identities = pd.concat(parts, ignore_index=True).assign(**settings)
    results = measured(identities, "loss", "train", steps, lambda f: 2.3 - 0.01 * f["step"])
    random = generator(7, experiment)
    direction = random.normal(size=entries)
    frame = identities.merge(pd.DataFrame({"step": steps}), how="cross")
    vectors = []
    for row in frame.itertuples():
        factor = ratios[row.trainable] if row.coupling == "standard" else 1.0
        change = factor * direction + fluctuation * random.normal(size=entries)
        vectors.append(0.01 * row.step * change)
    return results, frame.assign(outputs=vectors)[list(OUTPUT_COLUMNS)]


# ------------------------------------------------------------------------------------------------ scaling


def scaling(
    *,
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (2, 4, 8, 16),
    sd: float = 0.002,
    start: float = 0.0,
    **network: object,
) -> pd.DataFrame:
    """Final losses ``loss(width, depth)`` at the best of three rates; ``start`` / width more at step 0."""
    steps, rates = [0, 10, 100], (0.25, 0.5, 1.0)

    def law(frame: pd.DataFrame) -> np.ndarray:
        size = [frame[axis].to_numpy(float) for axis in ("width", "depth")]
        off = 1 + 0.2 * np.log2(frame["learning_rate"] / 0.5) ** 2
        trained = loss(*size) * off * noise(frame, sd, "scaling", str(network), shared=0.02)
        untrained = 2.3 + start / size[0]
        return np.where(frame["step"] == 0, untrained, np.where(frame["step"] == 10, 1.5, trained))

    identities = runs("scaling", widths=widths, depths=depths, rates=rates, **network)
    parts = [measured(identities, "loss", split, steps, law) for split in ("train", "test")]
    parts.append(measured(identities, "loss", "batch", steps[1:], law))
    parts.append(measured(identities, "accuracy", "test", steps, lambda f: np.full(len(f), 0.9)))
    parts.append(
        measured(
            identities,
            "flops",
            "none",
            steps,
            lambda f: 1.0 * f["width"] ** 2 * f["depth"] * f["step"],
        )
    )
    return pd.concat(parts, ignore_index=True)


# ------------------------------------------------------------------------------------------ limit_training

LOST = {
    0: 0.0,
    1: 0.1,
    10: 0.8,
    100: 2.0,
}  # step -> loss lost by the coupled limit at infinite depth


def limit_training(
    *,
    separation: float = 0.2,
    width_error: float = 4.0,
    over_depth: Callable[[np.ndarray], np.ndarray] = lambda L: 0.4 / L,
    sd: float = 0.02,
    particles: int = 10**5,
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (4, 8, 16),
    seeds: Iterable[int] = SEEDS,
    limit_seeds: Iterable[int] = SEEDS,
) -> pd.DataFrame:
    """Networks and both limits that lose a share 1 - width_error / n - over_depth(L) of LOST.

    NFD loses ``separation`` less of it. Noise of size ``sd`` / sqrt(n / 32) of the loss lost, all of it
    common to a limit's depths, none to a network's widths.
    """
    networks = runs("limit_training", widths=widths, depths=depths, seeds=seeds)
    limits = runs(
        "limit_training",
        source="limit",
        couplings=("standard", "decoupled"),
        widths=(particles,),
        depths=depths,
        seeds=limit_seeds,
    )

    def loss(frame: pd.DataFrame) -> np.ndarray:
        n, L = (frame[axis].to_numpy(float) for axis in ("width", "depth"))
        limit = frame["source"] == "limit"
        names = zip(limit, frame["coupling"], n * ~limit, L * ~limit, frame["seed"], strict=True)
        random = np.array([generator(7, "run", *map(str, name)).normal() for name in names])
        share = (
            1 - width_error / n - over_depth(L) - separation * (frame["coupling"] == "decoupled")
        )
        share += sd * random * np.sqrt(32 / n) + 0.02 * sd * generator(8).normal(size=len(frame))
        return 2.3 - share * frame["step"].map(LOST)

    identities = pd.concat([networks, limits], ignore_index=True)
    parts = [measured(identities, "loss", split, list(LOST), loss) for split in ("train", "test")]
    return pd.concat(parts, ignore_index=True)


# --------------------------------------------------------------------------------------- limit_convergence


def limit_tables(
    *,
    separation: float = 0.3,
    fresh: float | None = None,
    loss_exponent: float = 1.0,
    depth_error: float = 0.8,
    width_error: float = 1.0,
    fluctuation: float = 1.0,
    shared: float = 0.0,
    coupling_layer: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    eigenvalue: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    depths: Sequence[int] = (2, 4, 8, 16, 32),
    seeds: Iterable[int] = SEEDS,
    limit_seeds: Iterable[int] = range(4),
    particles: int = 10**6,
    entries: int = 80,
    **signed: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Networks whose limit is at distance ``separation`` (relative) from NFD, and ``fresh`` from that of
    fresh copies, which are there if it is given. The loss is 0.5 + 0.4 L^-loss_exponent.

    Outputs: coupled limit + depth_error / L + width_error / n * 10 + fluctuation * normal / sqrt(n),
    each along its own direction of the norm of the outputs themselves. The limits of one seed share noise of
    size ``shared``, which stands in all their outputs after step 0. ``coupling_layer(n, L)``: rms at all
    steps; ``eigenvalue(n, step)``; ``signed``: see :func:`signed_couplings`.
    """
    steps = [0, 1, 10]
    apart = {"standard": 0.0, "decoupled": separation, "fresh": fresh or 0.0}
    couplings = ("standard", "decoupled", *(("fresh",) if fresh is not None else ()))
    coupling_layer = coupling_layer or (lambda n, L: n**-0.5)
    eigenvalue = eigenvalue or (lambda n, k: 0.2 * (1 - 4 / n) * (1 + 0.01 * k))
    networks = runs(
        "limit_convergence",
        couplings=couplings,
        widths=widths,
        depths=depths,
        seeds=seeds,
    )
    limits = runs(
        "limit_convergence",
        source="limit",
        couplings=couplings,
        widths=(particles,),
        depths=depths,
        seeds=limit_seeds,
    )
    identities = pd.concat([networks, limits], ignore_index=True)

    def loss(frame: pd.DataFrame) -> np.ndarray:
        trained = (
            0.5
            + 0.4 * frame["depth"] ** -loss_exponent
            + 0.01 * np.log(noise(frame, 0.05, "limit"))
        )
        return np.where(frame["step"] == 0, 2.3, trained)

    def coupling(frame: pd.DataFrame) -> np.ndarray:
        n, L = (frame[axis].to_numpy(float) for axis in ("width", "depth"))
        return coupling_layer(n, L) * noise(frame, 0.03, "coupling")

    def least(frame: pd.DataFrame) -> np.ndarray:
        value = eigenvalue(frame["width"].to_numpy(float), frame["step"].to_numpy(float))
        return value * noise(frame, 0.02, "kernel")

    parts = [measured(identities, "loss", split, steps, loss) for split in ("train", "test")]
    for metric in ("coupling_layer", "coupling_accumulated"):
        parts.append(measured(identities, metric, "probe", steps, coupling))
    widest = (max(widths), particles)
    for source, width, those in zip(
        ("network", "limit"), widest, (seeds, limit_seeds), strict=True
    ):
        shape = {"source": source, "widths": (width,), "depths": depths, "seeds": those}
        parts.append(signed_couplings(steps, **shape, **signed))
    parts.append(measured(identities, "kernel_min_eigenvalue", "probe", steps, least))
    results = pd.concat(parts, ignore_index=True)

    random = generator(6, "limit outputs")
    basis = np.linalg.qr(random.normal(size=(entries, 4)))[0].T * np.sqrt(entries)
    frame = identities.merge(pd.DataFrame({"step": steps}), how="cross")
    draws = {seed: shared * random.normal(size=entries) for seed in limit_seeds} if shared else {}
    vectors = []
    for row in frame.itertuples():
        value = fluctuation * random.normal(size=entries) / np.sqrt(row.width)
        if row.step > 0:
            value = value + basis[0] + basis[1] * depth_error / row.depth
            value += basis[2] * 10 * width_error / row.width
            value += basis[3] * apart[row.coupling]
            if shared and row.source == "limit":
                value += draws[row.seed]
        vectors.append(value)
    outputs = frame.assign(outputs=vectors)[list(OUTPUT_COLUMNS)]
    return results, outputs


def signed_couplings(
    steps: Sequence[int],
    *,
    created_layer: Callable[[np.ndarray], np.ndarray] | None = None,
    created_sum: Callable[[np.ndarray], np.ndarray] | None = None,
    without_reuse: Callable[[np.ndarray], np.ndarray] | None = None,
    before: float = 0.0,
    sd: float = 0.5,
    **shape: object,
) -> pd.DataFrame:
    """Signed couplings: what training creates has one sign in all seeds, the noise sd / sqrt(n) has not.

    Per layer ``created_layer(L)`` in all couplings, half of it without reuse; in sum ``without_reuse(L)`` in
    all of them, and ``created_sum(L)`` more in the standard one. ``before``: the share of all that which is
    there at step 0 as well. Amplitudes are rms over probes.
    """
    created_layer = created_layer or (lambda L: 0.5 * L**-0.5)
    created_sum = created_sum or (lambda L: 0.3 + 0 * L)
    without_reuse = without_reuse or (lambda L: 0.4 + 0 * L)
    identities = runs("limit_convergence", couplings=("standard", "decoupled", "fresh"), **shape)
    random = generator(7, "signed", shape["source"])

    def law(per_layer: bool, sign: float) -> Values:
        def values(frame: pd.DataFrame) -> np.ndarray:
            L = frame["depth"].to_numpy(float)
            standard = (frame["coupling"] == "standard").to_numpy()
            if per_layer:
                size = created_layer(L) * np.where(standard, 1.0, 0.5)
            else:
                size = without_reuse(L) + created_sum(L) * standard
            share = np.where(frame["step"] == 0, before, 1.0)
            jitter = random.normal(size=len(frame)) * sd / np.sqrt(frame["width"].to_numpy(float))
            return sign * share * size + jitter

        return values

    parts = []
    for probe, sign in enumerate((1.0, -1.0, 1.0, -1.0)):
        parts.append(
            measured(identities, f"coupling_sum_{probe}", "probe", steps, law(False, sign))
        )
        for part in range(8):
            name = f"coupling_part_{part}_{probe}"
            parts.append(measured(identities, name, "probe", steps, law(True, sign)))
    return pd.concat(parts, ignore_index=True)


def kernels(
    *,
    eigenvalue: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    losses: bool = True,
    sd: float = 0.02,
    **shape: object,
) -> pd.DataFrame:
    """Least eigenvalues ``eigenvalue(L, step)`` of gia_restoration's networks, with losses or without."""
    eigenvalue = eigenvalue or (lambda L, k: 0.2 + 0.002 * k)
    fixed = {"couplings": ("standard", "decoupled"), "widths": (64,), "depths": (4, 16, 64)}
    identities = runs("gia_restoration", **{**fixed, **shape})

    def least(frame: pd.DataFrame) -> np.ndarray:
        value = eigenvalue(frame["depth"].to_numpy(float), frame["step"].to_numpy(float))
        return value * noise(frame, sd, "kernel")

    def loss(frame: pd.DataFrame) -> np.ndarray:
        return np.where(frame["step"] == 0, 2.3, 0.5 * noise(frame, 0.01, "loss"))

    steps = [0, 1, 10, 100]
    parts = [measured(identities, "kernel_min_eigenvalue", "probe", steps, least)]
    if losses:
        parts += [measured(identities, "loss", split, steps, loss) for split in ("train", "test")]
    return pd.concat(parts, ignore_index=True)


# ---------------------------------------------------------------------------------------- internal_collapse


def changes(
    exponents: dict[str, float],
    *,
    experiment: str = "internal_collapse",
    depths: Sequence[int] = (4, 8, 16, 32, 64, 128, 256),
    sd: float = 0.03,
    rates: Sequence[float] = (0.5,),
    **network: object,
) -> pd.DataFrame:
    """Two-layer runs whose metrics grow as depth^exponent: {'own_change_1': -0.5, ...}; the rest as L^0."""
    names = [
        *(
            f"{kind}_change_{j}"
            for kind in ("own", "inherited", "total", "stream", "gradient")
            for j in (1, 2)
        ),
        "output_change",
    ]
    steps = [0, 1, 10]
    identities = runs(
        experiment, **{"block_layers": 2, "depths": depths, "rates": rates, **network}
    )

    def law(name: str) -> Values:
        def values(frame: pd.DataFrame) -> np.ndarray:
            grown = 0.3 * frame["depth"].to_numpy(float) ** exponents.get(name, 0.0)
            return grown * (frame["step"] > 0) * noise(frame, sd, name, str(network), shared=0.05)

        return values

    def loss(frame: pd.DataFrame) -> np.ndarray:
        trained = 0.5 + 0.1 * np.abs(np.log2(frame["learning_rate"] / 0.5))
        return np.where(frame["step"] == 0, 2.3, trained * noise(frame, 0.01, "loss", str(network)))

    parts = [measured(identities, name, "probe", steps, law(name)) for name in names]
    parts += [measured(identities, "loss", split, steps, loss) for split in ("train", "test")]
    return pd.concat(parts, ignore_index=True)
