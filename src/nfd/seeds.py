"""Random numbers addressed by name.

One root seed; everything random derives from it through the names of what it is for, never through
its position in a stack or loop. So a member's numbers are the same whichever job trains it.
"""

import hashlib

import numpy as np


def generator(root_seed: int, *names: str | int) -> np.random.Generator:
    """The generator of what ``names`` describe, e.g. ``generator(0, "weights", seed, "hidden_2", 3)``."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([root_seed, *words])))
