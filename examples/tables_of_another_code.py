"""Write a table that scripts/judge_claims.py can judge; here a formula stands for your training code."""

import sys
from itertools import product
from math import log2

import pandas as pd


def loss_of(parametrization, depth, learning_rate, seed, step):
    """Put your own here: the loss before a step; step 0 is initialisation."""
    if step == 0:
        return 2.3
    best = -1.0 if parametrization == "depth_mup" else -1 - 0.5 * log2(depth)
    noise = (37 * seed + 11 * depth) % 19 / 19
    return 0.5 - 0.01 * log2(depth) + 0.05 * (log2(learning_rate) - best) ** 2 + 0.002 * noise


same = {"experiment": "depth_transfer", "source": "network", "correction": 0.0, "block_layers": 1}
same |= {"skip": True, "activation": "relu", "horizon": 1.0, "loss": "cross_entropy"}
same |= {"optimizer": "sgd", "trainable": "input+hidden_2+output", "coupling": "standard"}
same |= {"width": 128, "metric": "loss", "diverged": False}
names = ["parametrization", "depth", "learning_rate", "seed", "step"]
rates = [2.0**power for power in range(-7, 3)]
rows = []
for run in product(["depth_mup", "mup"], [4, 8, 16, 32], rates, range(5), [0, 250, 1000]):
    row = {**same, **dict(zip(names, run, strict=True)), "value": loss_of(*run)}
    rows += [{**row, "split": split} for split in ("train", "test")]
pd.DataFrame(rows).to_csv(sys.argv[1], index=False)
