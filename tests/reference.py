"""Independent float64 references, written from docs/theory.md, sections 1 to 3.

They share nothing with the package but the N(0, 1) entries of the initial weights, which are drawn by
name. Three references, each closer to the formulas than to the package's stacked code:

* :class:`Network`: one network in numpy, weights kept in N(0, 1) form, multipliers written out,
  gradients by hand, both couplings, all optimizers and activations;
* :class:`TorchNetwork`: ``torch.nn.Linear`` modules for autograd and ``torch.optim`` (standard
  coupling only), with weights rescaled at will by the equivalence rule of section 2;
* :func:`feature_dynamics`: the recursions of section 3, in which no weight ever changes.
"""

from dataclasses import dataclass, field
from functools import partial
from math import pi, sqrt

import numpy as np
import torch
from scipy import special

from nfd.network.stack import initial_weight

ADAM_EPS = 1e-12  # on the gradient of a N(0, 1) weight
MOMENTUM = 0.9
DECAY = 0.1  # AdamW's: a step takes this times the base learning rate of every weight
COLUMN = {"sgd": "sgd", "momentum": "sgd", "adam": "adam", "adamw": "adam"}  # whose factors


def scales(name, n, L, d, T=1.0, p=0.5):
    """The table of section 2: beta, and for U, W1, W2, V (multiplier, SGD factor, Adam factor)."""
    rn, rL, rd = sqrt(n), sqrt(L), sqrt(d)
    mup_u, mup_v = (1 / rd, n, 1), (1 / n, n, 1)
    fan_in, ntk, mup = (1 / rn, n, rn), (1 / rn, 1, 1 / n), (1 / rn, n, 1 / rn)
    depth = (1 / rn, n, 1 / (rn * rL))
    corrected = (1 / rn, n * L**p, L ** (p - 0.5) / rn)
    complete = (1 / rn, n * L, 1 / rn)
    sqrt_depth = (1 / (rn * rL), n * L, rn * rL)
    beta, u, w1, w2, v = {
        "standard": (1, (1 / rd, d, rd), fan_in, fan_in, fan_in),
        "standard_sqrt_depth": (1, (1 / rd, d, rd), fan_in, sqrt_depth, fan_in),
        "ntk": (1, (1 / rd, 1, 1 / rn), ntk, ntk, (1 / rn, 1, 1 / rn)),
        "mup": (1, mup_u, mup, mup, mup_v),
        "depth_mup": (sqrt(T / L), mup_u, depth, depth, mup_v),
        "depth_mup_corrected": (sqrt(T / L), mup_u, corrected, depth, mup_v),
        "complete_p": (T / L, mup_u, complete, complete, mup_v),
    }[name]
    return beta, {"input": u, "hidden_1": w1, "hidden_2": w2, "output": v}


def phi(activation, x):
    return {
        "relu": np.maximum(x, 0),
        "tanh": np.tanh(x),
        "linear": x,
        "gelu": x * special.ndtr(x),
        "erf": special.erf(x),
    }[activation]


def phi_prime(activation, x):
    bell = np.exp(-(x**2) / 2) / sqrt(2 * pi)
    return {
        "relu": 1.0 * (x > 0),
        "tanh": 1 / np.cosh(x) ** 2,
        "linear": np.ones_like(x),
        "gelu": special.ndtr(x) + x * bell,
        "erf": 2 / sqrt(pi) * np.exp(-(x**2)),
    }[activation]


def gain(activation):
    """Of blocks without skips: 1 / sqrt(E phi(z)^2), z normal, by quadrature; tanh has 1."""
    if activation == "tanh":
        return 1.0
    z, weights = np.polynomial.hermite_e.hermegauss(120)
    return 1 / sqrt(weights @ phi(activation, z) ** 2 / weights.sum())


def loss_and_chi(f, y, loss):
    """Per-sample loss and its derivative by f; ``y`` is one-hot or real, shaped as ``f``."""
    if loss == "mse":
        return 0.5 * ((f - y) ** 2).sum(1), f - y
    e = np.exp(f - f.max(1, keepdims=True))
    probability = e / e.sum(1, keepdims=True)
    return -(y * np.log(probability)).sum(1), probability - y


@dataclass
class Network:
    """One network. ``W[role][layer]`` holds the N(0, 1)-form weights, ``W0`` their initial values,
    ``backward_W0`` the independent copy of a decoupled network."""

    name: str
    width: int
    depth: int
    input_dim: int
    outputs: int
    seed: int
    block_layers: int = 1
    skip: bool = True
    activation: str = "relu"
    horizon: float = 1.0
    coupling: str = "standard"
    correction: float = 0.5
    root_seed: int = 0
    steps: int = 0
    moments: dict = field(default_factory=dict)

    def __post_init__(self):
        n, L, d, C = self.width, self.depth, self.input_dim, self.outputs
        beta, table = scales(self.name, n, L, d, self.horizon, self.correction)
        self.block_scale = beta if self.skip else gain(self.activation)
        self.m = {role: cell[0] for role, cell in table.items()}
        self.rate = {role: {"sgd": cell[1], "adam": cell[2]} for role, cell in table.items()}
        inner = ("hidden_1", "hidden_2")[2 - self.block_layers :]
        shapes = {
            "input": (1, (n, d)),
            **dict.fromkeys(inner, (L, (n, n))),
            "output": (1, (C, n)),
        }
        self.W0, self.backward_W0 = (
            {
                role: [
                    initial_weight(self.root_seed, self.seed, role, k, shape, copy).astype(float)
                    for k in range(count)
                ]
                for role, (count, shape) in shapes.items()
            }
            for copy in ("forward", "backward")
        )
        self.W = {role: [w.copy() for w in layers] for role, layers in self.W0.items()}
        self.kept = dict.fromkeys(self.W, 1.0)  # share of the initial weights that decay has left

    def backward_weight(self, role, layer):
        """What the backward pass multiplies with: W, or the independent W^0 plus what was learned."""
        if self.coupling == "standard":
            return self.W[role][layer]
        initial = self.backward_W0[role][layer]
        if self.coupling == "fresh":
            initial = self.copy_of(role, layer, "backward", self.steps)
        # Weight decay shrinks the initial part of both copies alike.
        change = self.W[role][layer] - self.kept[role] * self.W0[role][layer]
        return self.kept[role] * initial + change

    def copy_of(self, role, layer, *names):
        """N(0, 1) entries of a named copy of a hidden matrix."""
        shape = self.W0[role][layer].shape
        return initial_weight(self.root_seed, self.seed, role, layer, shape, *names).astype(float)

    def forward(self, x):
        """f (B, C); h, a list of L + 1 arrays (B, n); pre and z, L arrays: the argument of phi and
        what the block's last matrix multiplies."""
        h, pre, z = [self.m["input"] * x @ self.W["input"][0].T], [], []
        for k in range(self.depth):
            if self.block_layers == 2:
                pre.append(self.m["hidden_1"] * h[k] @ self.W["hidden_1"][k].T)
            else:
                pre.append(h[k])
            z.append(phi(self.activation, pre[k]))
            block = self.block_scale * self.m["hidden_2"] * z[k] @ self.W["hidden_2"][k].T
            h.append(h[k] + block if self.skip else block)
        return self.m["output"] * h[-1] @ self.W["output"][0].T, h, pre, z

    def backward(self, x, chi):
        """Gradients of the N(0, 1)-form weights, summed over samples, and d loss / d h_l, l = 0..L."""
        _, h, pre, z = self.forward(x)
        gradient = {role: [None] * len(layers) for role, layers in self.W.items()}
        gradient["output"][0] = self.m["output"] * chi.T @ h[-1]
        g = [self.m["output"] * chi @ self.W["output"][0]]
        scale = self.block_scale * self.m["hidden_2"]
        for k in reversed(range(self.depth)):
            gradient["hidden_2"][k] = scale * g[0].T @ z[k]
            below = scale * g[0] @ self.backward_weight("hidden_2", k)
            below = below * phi_prime(self.activation, pre[k])
            if self.block_layers == 2:
                error = below
                if self.coupling == "third":
                    change = self.W["hidden_2"][k] - self.kept["hidden_2"] * self.W0["hidden_2"][k]
                    third = self.kept["hidden_2"] * self.copy_of("hidden_2", k, "third") + change
                    error = scale * g[0] @ third * phi_prime(self.activation, pre[k])
                gradient["hidden_1"][k] = self.m["hidden_1"] * error.T @ h[k]
                below = self.m["hidden_1"] * below @ self.backward_weight("hidden_1", k)
            g.insert(0, g[0] + below if self.skip else below)
        gradient["input"][0] = self.m["input"] * g[0].T @ x
        return gradient, g

    def train_step(self, x, y, learning_rate, loss="mse", optimizer="sgd", trainable=None):
        """One step on the batch-averaged loss; returns the loss before it."""
        losses, chi = loss_and_chi(self.forward(x)[0], y, loss)
        gradient, _ = self.backward(x, chi / len(x))
        self.steps += 1
        for role in trainable or self.W:
            rate = learning_rate * self.rate[role][COLUMN[optimizer]]
            kept = 1 - learning_rate * DECAY if optimizer == "adamw" else 1.0
            self.kept[role] *= kept
            for k, slope in enumerate(gradient[role]):
                self.W[role][k] *= kept
                self.W[role][k] -= rate * self._direction(role, k, slope, optimizer)
        return losses.mean()

    def _direction(self, role, layer, slope, optimizer):
        if optimizer == "sgd":
            return slope
        if optimizer == "momentum":
            slope = slope + MOMENTUM * self.moments.get((role, layer), 0.0)
            self.moments[role, layer] = slope
            return slope
        first, second = self.moments.get((role, layer), (0.0, 0.0))
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        self.moments[role, layer] = first, second
        mean, square = first / (1 - 0.9**self.steps), second / (1 - 0.999**self.steps)
        return mean / (np.sqrt(square) + ADAM_EPS)


class TorchNetwork(torch.nn.Module):
    """The same network (standard coupling) out of ``torch.nn.Linear``, in float64.

    ``t`` rescales roles by the equivalence rule: stored weights are t times N(0, 1), multipliers m/t,
    SGD factors x t^2, Adam factors x t (and Adam's epsilon / t).
    """

    def __init__(self, network: Network, t=None):
        super().__init__()
        self.network = network
        self.t = dict.fromkeys(network.W, 1.0) | (t or {})
        self.layers = torch.nn.ModuleDict(
            {role: torch.nn.ModuleList() for role in network.W}
        ).double()
        for role, weights in network.W0.items():
            for w in weights:
                layer = torch.nn.Linear(*w.shape[::-1], bias=False, dtype=torch.float64)
                layer.weight.data = self.t[role] * torch.from_numpy(w)
                self.layers[role].append(layer)

    def times(self, role, layer, z):
        return self.network.m[role] / self.t[role] * self.layers[role][layer](z)

    def forward(self, x):
        a = self.network
        act = {
            "relu": torch.relu,
            "tanh": torch.tanh,
            "linear": lambda z: z,
            "gelu": torch.nn.functional.gelu,
            "erf": torch.erf,
        }[a.activation]
        h = self.times("input", 0, x)
        for k in range(a.depth):
            inside = self.times("hidden_1", k, h) if a.block_layers == 2 else h
            block = a.block_scale * self.times("hidden_2", k, act(inside))
            h = h + block if a.skip else block
        return self.times("output", 0, h)

    def optimizer(self, kind, learning_rate, trainable=None):
        groups = []
        for role in trainable or self.layers:
            t, factor = self.t[role], self.network.rate[role][COLUMN[kind]]
            group = {"params": list(self.layers[role].parameters())}
            if COLUMN[kind] == "sgd":
                group["lr"] = learning_rate * factor * t**2
            else:
                group |= {"lr": learning_rate * factor * t, "eps": ADAM_EPS / t}
            if kind == "adamw":  # torch multiplies the decay by the group's rate
                group["weight_decay"] = DECAY * learning_rate / group["lr"]
            groups.append(group)
        return {
            "sgd": torch.optim.SGD,
            "momentum": partial(torch.optim.SGD, momentum=MOMENTUM),
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
        }[kind](groups)

    def weight(self, role, layer):
        """Weight in N(0, 1) form, as numpy."""
        return self.layers[role][layer].weight.detach().numpy() / self.t[role]


def feature_dynamics(network: Network, x, y, eta, steps):
    """Section 3, one-layer blocks, depth_mup, full-batch mse, only the hidden weights trained.

    Returns the outputs f^k (steps + 1, B, C). No weight is updated: the learned part is the sum over
    past steps i and samples b of g^i_{l,b} <phi(h^i_{l-1,b}), .> / n.
    """
    n, L, T, B = network.width, network.depth, network.horizon, len(x)
    U, W, V = network.W0["input"][0], network.W0["hidden_2"], network.W0["output"][0]
    back = W if network.coupling == "standard" else network.backward_W0["hidden_2"]
    act = network.activation
    past_phi, past_g = [[] for _ in range(L)], [[] for _ in range(L)]
    outputs = []
    for step in range(steps + 1):
        if network.coupling == "fresh":
            back = [network.copy_of("hidden_2", k, "backward", step) for k in range(L)]
        h = [x @ U.T / sqrt(network.input_dim)]
        for k in range(L):
            now = phi(act, h[k])
            new = h[k] + sqrt(T / L) * now @ W[k].T / sqrt(n)
            for old, g_old in zip(past_phi[k], past_g[k], strict=True):
                new = new - eta * T / L / B * (now @ old.T / n) @ g_old
            h.append(new)
        outputs.append(h[L] @ V.T / n)
        g = (outputs[-1] - y) @ V
        for k in reversed(range(L)):
            drift = 0.0
            for old, g_old in zip(past_phi[k], past_g[k], strict=True):
                drift = drift + eta * sqrt(T / L) / B * (g @ g_old.T / n) @ old
            below = sqrt(T / L) * phi_prime(act, h[k]) * (g @ back[k] / sqrt(n) - drift)
            past_phi[k].append(phi(act, h[k]))
            past_g[k].append(g)
            g = g + below
    return np.array(outputs)
