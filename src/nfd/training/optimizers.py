"""The optimizers: one class each, with all that depends on which one it is.

Weights are held in effective form, their N(0, 1) entries times a multiplier m. By the equivalence rule of
docs/theory.md, section 2, a rate of the N(0, 1) weights becomes one of the effective weights by m^2 under
SGD and by m under Adam; each optimizer follows one of the two. A new one is a class and its name in
``OPTIMIZERS``. Tensors are used through their methods only, so that jobs can ask for a class's memory
without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from nfd.network.parametrization import RateColumn, Scales
from nfd.network.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from nfd.network.stack import LayerGradient, Stack
    from nfd.training.trainer import Member


class Optimizer(ABC):
    """One rate per member and role, and what is remembered of past gradients.

    ``column``: the learning-rate factors it takes from the parametrization; ``state_per_weight``: how
    many numbers it keeps for each trained weight; ``printed_name``: for figures.
    """

    printed_name: ClassVar[str]
    column: ClassVar[RateColumn]
    state_per_weight: ClassVar[int]

    def __init__(self, stack: Stack, members: Sequence[Member], batch_size: int) -> None:
        self.stack, self.members = stack, members
        self.step = 0
        # Gradients are of the batch mean, the errors a backward pass yields are per sample.
        self.per_batch = 1.0 / batch_size
        self._tables: list[dict[Role, Tensor]] = []
        self.rates = self._per_member(self._rate)
        # A list: the order of the state must be the same in the process that resumes.
        self.trained = [role for role, rate in self.rates.items() if bool((rate != 0).any())]
        self.state: dict[Role, list[list[Tensor]]] = {
            role: [
                [w.new_zeros(w.shape) for _ in range(self.state_per_weight)]
                for w in stack.weights[role]
            ]
            for role in self.trained
        }

    @staticmethod
    @abstractmethod
    def conversion(multiplier: float) -> float:
        """What turns a rate of N(0, 1) weights into that of the effective ones."""

    @abstractmethod
    def descend(self, gradient: LayerGradient) -> None:
        """One step on one layer that is trained, in place."""

    def update(self, gradient: LayerGradient) -> None:
        """One step on one layer, in place; none on roles that nobody trains."""
        if gradient.role in self.trained:
            self.descend(gradient)

    def slope(self, gradient: LayerGradient) -> Tensor:
        """Gradient (members, out, in) of the batch-averaged loss by the effective weights."""
        return gradient.sum_over_batch().mul_(self.per_batch)

    def tensors(self) -> list[Tensor]:
        """All of the state, in an order that depends on nothing but the members."""
        return [t for layers in self.state.values() for layer in layers for t in layer]

    def of_member(self, slot: int) -> dict[str, Tensor]:
        """One member's part of the state, by name; of the roles that are trained beside it, too."""
        return {
            f"state {role} {layer} {number}": tensor[slot]
            for role, layers in self.state.items()
            for layer, tensors in enumerate(layers)
            for number, tensor in enumerate(tensors)
        }

    def keep(self, index: Tensor) -> None:
        """Drop all slots but these."""
        for table in self._tables:
            for role in table:
                table[role] = table[role].index_select(0, index)
        for layers in self.state.values():
            layers[:] = [[t.index_select(0, index) for t in layer] for layer in layers]

    def _rate(self, member: Member, scales: Scales, role: Role) -> float:
        rate = member.learning_rate * scales[role].learning_rate * (role in member.trainable)
        return rate * self.conversion(self.stack.architecture.multiplier(role, scales))

    def _per_member(self, value: Callable[[Member, Scales, Role], float]) -> dict[Role, Tensor]:
        """Role -> one number per member (members, 1, 1), which :meth:`keep` will keep in step."""
        pairs = [*zip(self.members, self.stack.scales, strict=True)]
        table = {
            role: self.stack.column([value(*pair, role) for pair in pairs])
            for role in self.stack.weights
        }
        self._tables.append(table)
        return table


class Sgd(Optimizer):
    """w <- w - rate * slope."""

    printed_name = "SGD"
    column = "sgd"
    state_per_weight = 0

    def __init__(self, stack: Stack, members: Sequence[Member], batch_size: int) -> None:
        super().__init__(stack, members, batch_size)
        self.descent = {role: -self.per_batch * rate for role, rate in self.rates.items()}
        self._tables.append(self.descent)

    @staticmethod
    def conversion(multiplier: float) -> float:
        return multiplier * multiplier

    def descend(self, gradient: LayerGradient) -> None:
        self.stack.add_product(gradient, self.descent[gradient.role])


class Momentum(Sgd):
    """v <- 0.9 v + slope; w <- w - rate * v, at SGD's rates, as torch.optim.SGD has it.

    In the long run v is 1 / (1 - 0.9) = 10 slopes, at every width and depth alike: so SGD's factors are
    right for it, and its best base rate is about a tenth of SGD's.
    """

    printed_name = "SGD with momentum"
    state_per_weight = 1
    factor = 0.9

    def descend(self, gradient: LayerGradient) -> None:
        role, layer = gradient.role, gradient.layer
        (velocity,) = self.state[role][layer]
        velocity.mul_(self.factor).add_(self.slope(gradient))
        self.stack.add(role, layer, velocity * -self.rates[role])


class Adam(Optimizer):
    """Adam (arXiv:1412.6980) without weight decay."""

    printed_name = "Adam"
    column = "adam"
    state_per_weight = 2
    betas = (0.9, 0.999)
    # On the gradient of the N(0, 1) weight. Small, because that gradient shrinks with the width.
    epsilon_of_normal = 1e-12

    def __init__(self, stack: Stack, members: Sequence[Member], batch_size: int) -> None:
        super().__init__(stack, members, batch_size)
        self.epsilon = self._per_member(
            lambda _, scales, role: (
                self.epsilon_of_normal / stack.architecture.multiplier(role, scales)
            )
        )

    @staticmethod
    def conversion(multiplier: float) -> float:
        return multiplier

    def descend(self, gradient: LayerGradient) -> None:
        role, layer = gradient.role, gradient.layer
        slope = self.slope(gradient)
        first, second = self.state[role][layer]
        beta_1, beta_2 = self.betas
        first.lerp_(slope, 1 - beta_1)
        second.mul_(beta_2).addcmul_(slope, slope, value=1 - beta_2)
        spread = (second / (1 - beta_2**self.step)).sqrt_().add_(self.epsilon[role])
        change = (first / spread).mul_(self.rates[role] / (beta_1**self.step - 1))
        self.stack.add(role, layer, change)


class AdamW(Adam):
    """Adam with decoupled weight decay (arXiv:1711.05101): w <- (1 - eta * decay) w, then Adam's step.

    ``eta`` is the member's own learning rate, *without* the parametrization's factors, so that a step
    takes the same share of every trained matrix at every width and depth. (torch's AdamW multiplies
    the decay by each group's rate; under mup that decay would vanish with the width.)
    """

    printed_name = "AdamW"
    decay = 0.1

    def __init__(self, stack: Stack, members: Sequence[Member], batch_size: int) -> None:
        super().__init__(stack, members, batch_size)
        self.kept = self._per_member(self._kept)

    def _kept(self, member: Member, _: Scales, role: Role) -> float:
        return 1 - member.learning_rate * self.decay * (role in member.trainable)

    def descend(self, gradient: LayerGradient) -> None:
        self.stack.shrink(gradient.role, gradient.layer, self.kept[gradient.role])
        super().descend(gradient)


OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "sgd": Sgd,
    "adam": Adam,
    "momentum": Momentum,
    "adamw": AdamW,
}
