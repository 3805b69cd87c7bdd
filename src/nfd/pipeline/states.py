"""Final states of trained networks, so that a longer training goes on from them instead of from nothing.

Kept only where ``NFD_STORE_STATES`` is set, in the folder ``_states`` of the store (readers of Parquet pass
over such names), one file per network under its address. A state is as large as the network's weights, their
copies and what the optimizer remembers. Deleting states costs time and nothing else.
"""

import logging
import os
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import torch

from nfd.files import atomic_path
from nfd.training.trainer import NetworkState

log = logging.getLogger(__name__)


class States:
    """The states kept in ``folder``; new ones are added if ``adds``."""

    def __init__(self, folder: str | Path, adds: bool) -> None:
        self.folder, self.adds = Path(folder), adds

    @classmethod
    def beside(cls, store: str | Path) -> "States":
        """Those of a store; the environment says whether new ones are kept."""
        return cls(Path(store) / "_states", bool(os.environ.get("NFD_STORE_STATES")))

    def add(self, address: str, state: NetworkState) -> None:
        """Keep the final state of the network at ``address``."""
        try:
            with atomic_path(self._path(address)) as temporary:
                torch.save(asdict(state), temporary)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            log.warning("cannot keep states in %s (%s); going on without", self.folder, error)

    def has(self, address: str) -> bool:
        """Whether there is one of the network at ``address``."""
        return self._path(address).is_file()

    def load(self, address: str) -> NetworkState | None:
        """The state of the network at ``address``; None if there is none that can be used."""
        try:
            return NetworkState(**torch.load(self._path(address), weights_only=True))
        except Exception as error:  # a damaged file can raise nearly anything
            log.warning("%s cannot be used (%s)", self._path(address), error)
            return None

    def sizes(self) -> list[int]:
        """Bytes of each."""
        return [path.stat().st_size for path in self.folder.glob("*.pt")]

    def keep_only(self, addresses: Collection[str]) -> None:
        """Drop all but those of the networks at ``addresses``."""
        for path in self.folder.glob("*.pt"):
            if path.stem not in addresses:
                path.unlink(missing_ok=True)

    def _path(self, address: str) -> Path:
        return self.folder / f"{address}.pt"
