"""The infinite-width limit of a deep residual network learning four digits, with and without weight reuse.

Solid: the coupled limit, that of real training. Dashed: Neural Feature Dynamics, whose backward pass uses
independent weights. Takes about twenty seconds of one CPU core: `python examples/limit_in_ten_lines.py`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import nfd
from nfd.data.sources import prepare

digits = prepare({"name": "digits"}).subset(24, 8)
x = np.concatenate([digits.train_inputs, digits.test_inputs])  # rows with |x|^2 / d close to 1
y = np.concatenate([digits.train_labels, digits.test_labels])
batches = np.random.default_rng(0).integers(24, size=(12, 4))  # 12 steps of SGD, 4 samples each
figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharex=True, layout="constrained")
for coupling, line in (("standard", "-"), ("decoupled", "--")):
    problem = nfd.LimitProblem(inputs=x, targets=y, batches=batches, depth=16, learning_rate=0.5,
                               loss="cross_entropy", coupling=coupling)  # fmt: skip
    run = nfd.simulate_limit(problem, particles=8192, seed=0)
    axes[0].plot(run.train_losses, line, color="#0072B2", label=f"{coupling}, train")
    axes[0].plot(run.test_losses, line, color="#D55E00", label=f"{coupling}, test")
    axes[1].plot(run.output_change, line, color="#0072B2", label=coupling)
for panel, title in zip(axes, ("mean loss", "rms change of the outputs"), strict=True):
    panel.set(xlabel="step", title=title)
    panel.legend(frameon=False, fontsize=8)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)
