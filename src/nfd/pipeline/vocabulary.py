"""The names that a configuration may use: each list is that of a registry, and written nowhere else.

The schema refers to a list as ``#/$defs/<its name here>``; config/README.md has it in the row of each key
that takes it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from nfd.data.sources import SOURCES
from nfd.network.activations import ACTIVATIONS
from nfd.network.architecture import COUPLINGS
from nfd.network.losses import LOSSES
from nfd.network.parametrization import PARAMETRIZATIONS
from nfd.network.roles import ROLES
from nfd.training.optimizers import OPTIMIZERS
from nfd.training.probes import PROBES

VOCABULARY: Mapping[str, Collection[str]] = {
    "activation": ACTIVATIONS,
    "coupling": COUPLINGS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "parametrization": PARAMETRIZATIONS,
    "probe": PROBES,
    "role": ROLES,
    "source": SOURCES,
}
# Keys of the configuration and what they take names from.
KEYS: Mapping[str, str] = {
    "name": "source",
    "couplings": "coupling",
    "optimizers": "optimizer",
    "activation": "activation",
    "loss": "loss",
    "probes": "probe",
    "parametrization": "parametrization",
    "trainable": "role",
}


def definitions() -> dict[str, dict[str, Any]]:
    """The lists as definitions of a JSON schema."""
    return {key: {"enum": list(names)} for key, names in VOCABULARY.items()}


def with_names(page: str) -> str:
    """The page of the configuration with the names that each key of :data:`KEYS` takes, in its row."""
    for key, kind in KEYS.items():
        values = ", ".join(f"`{name}`" for name in VOCABULARY[kind])
        row = re.compile(rf"^\| `{key}` \| [^|]* \|", re.MULTILINE)
        page = row.sub(f"| `{key}` | {values} |", page)
    return page
