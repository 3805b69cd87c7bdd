"""A store of single trained networks and single limit simulations, so that nothing is computed twice.

The numbers of a network depend on its own settings and seed, on the samples, and on the code; so each is
kept under an *address*, the SHA-256 of all these (:class:`Origin`), whichever experiment, preset or working
directory asked for it. A job computes what the store lacks. Deleting the store costs time and nothing else.

It is a folder of Parquet files in long form, one row per number, with the columns :data:`STORE_COLUMNS`. Each
holds the networks that one job has added, is written beside and renamed, and is never changed; its name is
the SHA-256 of its content. So any number of jobs may read and write at once, on a shared file system too,
without a server and without locks, and a part that is truncated or tampered with is noticed: it is named
in the log, set aside as ``*.damaged``, and its networks are computed anew. docs/store.md shows queries.

A network's rows hold those of shorter trainings of it (:func:`beginnings`), which are given out from there.
So that a job finds them without reading rows, a part's footer lists the first letters of their addresses.
"""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import time
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nfd.files import atomic_path
from nfd.pipeline.settings import as_argument
from nfd.pipeline.tables import IDENTITY, RESULT_COLUMNS

log = logging.getLogger(__name__)

# A network's rows: its address, all that the address stands for as JSON, what identifies it, its numbers.
# 'outputs' (samples x classes, flat) is filled in rows of the metric 'outputs', whose value is NaN.
_IDENTITY = [name for name in IDENTITY if name != "experiment"]
_NUMBERS = [name for name in RESULT_COLUMNS if name not in IDENTITY]
STORE_COLUMNS: tuple[str, ...] = ("address", "origin", *_IDENTITY, *_NUMBERS, "outputs")
_TYPES = {"string": pa.string(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
_SCHEMA = pa.schema(
    [("address", pa.string()), ("origin", pa.string())]
    + [(name, _TYPES[RESULT_COLUMNS[name]]) for name in (*_IDENTITY, *_NUMBERS)]
    + [("outputs", pa.list_(pa.float32()))]
)
# What the networks of one job have in common, of what identifies them.
_SHAPE = ["source", "block_layers", "optimizer", "width", "depth"]
# So many letters of an address point to it: two of 10^6 agree with a chance of 3e-8, and all that a pointer
# says is which part to read, where the whole address is compared.
_POINTER = 16
# What an origin says of the training of an adopted network (nfd.pipeline.adopt); no part of its address.
ADOPTED = "adopted"
# What killed writers left behind may be removed after this time.
_ABANDONED_S = 24 * 3600


class StoreError(ValueError):
    """A file that is no part of a store; the message names it and says what would be accepted."""


def default_folder() -> Path:
    """The environment variable NFD_STORE, or work/store in the working directory."""
    return Path(os.environ.get("NFD_STORE") or "work/store")


@dataclass(frozen=True)
class Origin:
    """All that the numbers of a job depend on besides its settings.

    ``samples`` is :func:`nfd.data.prepared.contents_digest` of the data, ``code`` a
    :func:`nfd.pipeline.code.digest`, ``device`` the kind, 'cpu' or 'cuda'. Of torch and numpy the minor
    version counts, '2.9'.
    """

    samples: str
    code: str
    device: str
    torch: str = ".".join(version("torch").split(".")[:2])
    numpy: str = ".".join(version("numpy").split(".")[:2])

    def of(self, settings: Mapping[str, Any]) -> str:
        """Canonical text of this and the settings of a job of one network."""
        return as_argument({**asdict(self), "settings": settings})


def address_of(origin: str) -> str:
    """Where the network with this :meth:`Origin.of` is kept."""
    if f'"{ADOPTED}"' in origin:
        parts = json.loads(origin)
        origin = as_argument({key: part for key, part in parts.items() if key != ADOPTED})
    return hashlib.sha256(origin.encode()).hexdigest()


@dataclass(frozen=True)
class Beginning:
    """A shorter training of a kept network: its address and :meth:`Origin.of`, and its ``steps``."""

    address: str
    origin: str
    steps: int

    def of(self, longer: pd.DataFrame) -> pd.DataFrame:
        """Its rows, from those of the longer training."""
        rows = longer[longer["step"] <= self.steps]
        return rows.assign(address=self.address, origin=self.origin)


def beginnings(origin: str) -> list[Beginning]:
    """The shorter trainings whose numbers are among those of the network with this :meth:`Origin.of`.

    Nothing in training depends on where it ends, but rows depend on which steps were logged before: the loss
    over batches is a mean since the last one, and divergence is looked for there. So a shorter training is a
    beginning only if its logged steps are exactly the first of the longer one's. Limits have none.
    """
    everything = json.loads(origin)
    settings = everything["settings"]
    if "networks" not in settings:
        return []
    logged, found = settings["logged_steps"], []
    for number in range(2, len(logged)):
        steps = logged[number - 1]
        shorter = {**settings, "steps": steps, "logged_steps": logged[:number]}
        text = as_argument({**everything, "settings": shorter})
        found.append(Beginning(address_of(text), text, steps))
    return found


class Store:
    """The networks kept in ``folder``; it is made when the first ones are added."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        # Parts never change.
        self._addresses: dict[Path, frozenset[str]] = {}
        self._pointers: dict[Path, frozenset[str]] = {}

    def missing(self, addresses: Iterable[str]) -> list[str]:
        """Those of ``addresses`` at which nothing is kept, in their order."""
        kept = frozenset().union(*(held for _, held in self._parts()))
        return [address for address in addresses if address not in kept]

    def load(self, addresses: Collection[str]) -> pd.DataFrame:
        """Rows (:data:`STORE_COLUMNS`) of what is kept of ``addresses``; a network's in their order.

        What is not kept itself is given out as the beginning of a longer training, and the log says so.
        """
        wanted, found = set(addresses), []
        for path, held in self._parts():
            if not held & wanted:
                continue
            table = self._read(path)
            if table is not None:
                asked = pc.is_in(table["address"], pa.array(sorted(held & wanted)))
                found.append(table.filter(asked).to_pandas())
                wanted -= held
        shorter = {begun.address: begun.of(longer) for begun, longer in self._longer(wanted)}
        if shorter:
            log.info("%d networks are read from longer runs in the store", len(shorter))
            found += shorter.values()
        return (
            pd.concat(found, ignore_index=True)
            if found
            else pd.DataFrame(columns=list(STORE_COLUMNS))
        )

    def add(self, rows: pd.DataFrame) -> None:
        """Keep the networks of ``rows`` (:data:`STORE_COLUMNS`; all of a network's rows at once)."""
        try:
            self._write(rows)
        except OSError as error:
            log.warning("cannot keep networks in %s (%s); going on without", self.folder, error)

    def sizes(self) -> pd.DataFrame:
        """One row per part: path, bytes, number of networks and simulations in it."""
        parts = [(str(path), path.stat().st_size, len(held)) for path, held in self._parts()]
        return pd.DataFrame(parts, columns=["part", "bytes", "networks"])

    def addresses(self) -> set[str]:
        """All addresses at which something is kept."""
        return set().union(*(held for _, held in self._parts()))

    def origins(self) -> dict[str, str]:
        """:meth:`Origin.of` of all that is kept, by address."""
        found: dict[str, str] = {}
        for path, _ in self._parts():
            table = self._read(path)
            if table is not None:
                columns = table.select(["address", "origin"])
                found.update(
                    columns.group_by(["address", "origin"]).aggregate([]).to_pandas().to_numpy()
                )
        return found

    def keep_only(self, addresses: Collection[str]) -> int:
        """Drop all but ``addresses``, second copies too; returns how many networks are gone.

        Of one that is not kept itself the longer training that it begins stays. A job that reads meanwhile
        may miss a network and compute it. Files that killed writers left behind a day ago are removed, and
        damaged ones.
        """
        kept = self.addresses()
        longer = [rows["address"].iloc[0] for _, rows in self._longer(set(addresses) - kept)]
        wanted = {*addresses, *longer}
        dropped = kept - wanted
        for path, held in self._parts():
            if not held <= wanted:
                table = self._read(path)
                if table is None:
                    continue
                rows = table.to_pandas()
                self._write(rows[rows["address"].isin(wanted)])
                path.unlink(missing_ok=True)
            wanted -= held
        for path in [*self.folder.glob("*.damaged"), *self.folder.glob(".*.parquet")]:
            if path.suffix == ".damaged" or path.stat().st_mtime < time() - _ABANDONED_S:
                path.unlink(missing_ok=True)
        return len(dropped)

    def export(self, addresses: Collection[str], path: str | Path) -> int:
        """Write the networks at ``addresses`` to one file; returns how many there are."""
        rows = self.load(addresses)
        with atomic_path(path) as temporary:
            temporary.write_bytes(_as_parquet(rows, level=19))
        return int(rows["address"].nunique())

    def import_from(self, path: str | Path) -> int:
        """Add the networks of an exported file that are not here; returns how many that are.

        In one part for each shape, as jobs have added them, so that a job reads little else than its own.
        Raises StoreError if it is another file, or a network in it does not stand at its address.
        """
        try:
            table = pq.ParquetFile(path).read()
        except (pa.ArrowException, OSError) as error:
            raise StoreError(
                f"{path} is not a Parquet file that 'export' wrote: {error}"
            ) from error
        if table.schema.names != list(STORE_COLUMNS):
            raise StoreError(
                f"{path}: its columns are not those of a store, {', '.join(STORE_COLUMNS)}"
            )
        rows = table.to_pandas()
        for address, origin in _networks(rows):
            if address != address_of(origin):
                raise StoreError(f"{path}: {address} is not the address of {origin}")
            try:
                beginnings(origin)
            except (ValueError, TypeError, LookupError) as error:
                raise StoreError(f"{path}: {origin} is no origin that a job writes") from error
        new = self.missing(rows["address"].unique())
        for _, shape in rows[rows["address"].isin(new)].groupby(_SHAPE):
            self.add(shape)
        return len(new)

    # ---- parts

    def _parts(self) -> Iterator[tuple[Path, frozenset[str]]]:
        """(part, addresses in it) of all whole parts, by name; footers only are read."""
        for path in sorted(self.folder.glob("[!.]*.parquet")):
            if path not in self._addresses:
                try:
                    listed = pq.read_schema(path).metadata[b"addresses"]
                    self._addresses[path] = frozenset(json.loads(listed))
                except FileNotFoundError:  # pruned a moment ago
                    continue
                except Exception as error:  # a damaged file can raise nearly anything
                    self._set_aside(path, str(error))
                    continue
            yield path, self._addresses[path]

    def _longer(self, wanted: Collection[str]) -> Iterator[tuple[Beginning, pd.DataFrame]]:
        """Beginnings at ``wanted`` addresses and the rows of a kept training that each begins, once each."""
        wanted = set(wanted)
        pointers = {address[:_POINTER] for address in wanted}
        for path, _ in self._parts():
            if not wanted:
                return
            if pointers.isdisjoint(self._pointers_in(path)):
                continue
            table = self._read(path)
            if table is None:
                continue
            rows = table.to_pandas()
            for address, origin in _networks(rows):
                for begun in beginnings(origin):
                    if begun.address in wanted:
                        wanted.remove(begun.address)
                        yield begun, rows[rows["address"] == address]

    def _pointers_in(self, path: Path) -> frozenset[str]:
        """First letters of the addresses of all beginnings in a part; none if it cannot be read."""
        if path not in self._pointers:
            try:
                listed = pq.read_schema(path).metadata.get(b"beginnings")
                found = json.loads(listed) if listed else _pointers(_origins_in(path))
                self._pointers[path] = frozenset(found)
            except FileNotFoundError:  # pruned a moment ago
                return frozenset()
            except Exception as error:  # a damaged file can raise nearly anything
                self._set_aside(path, str(error))
                return frozenset()
        return self._pointers[path]

    def _read(self, path: Path) -> pa.Table | None:
        """The part's rows, or None if it is not what was written."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != path.stem:
            self._set_aside(path, "its content is not what its name says")
            return None
        return pq.ParquetFile(pa.BufferReader(content)).read()

    def _set_aside(self, path: Path, reason: str) -> None:
        log.warning("%s is damaged (%s); its networks are computed anew", path, reason)
        self._addresses.pop(path, None)
        self._pointers.pop(path, None)
        try:
            path.rename(path.with_suffix(".damaged"))
        except OSError as error:  # somebody else's store may be read only
            log.warning("cannot set %s aside: %s", path, error)

    def _write(self, rows: pd.DataFrame) -> None:
        if rows.empty:
            return
        content = _as_parquet(rows, level=3)
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}.parquet"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


def _networks(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """(address, origin) of each network."""
    yield from rows[["address", "origin"]].drop_duplicates().itertuples(index=False, name=None)


def _origins_in(path: Path) -> set[str]:
    """Origins of a part that lists no beginnings, as those written before there were any."""
    column = pq.ParquetFile(path, read_dictionary=["origin"]).read(columns=["origin"]).column(0)
    return {origin for chunk in column.chunks for origin in chunk.dictionary.to_pylist()}


def _pointers(origins: Iterable[str]) -> list[str]:
    """First letters of the addresses of all beginnings of networks, sorted."""
    found = {begun.address[:_POINTER] for origin in origins for begun in beginnings(origin)}
    return sorted(found)


def _as_parquet(rows: pd.DataFrame, level: int) -> bytes:
    """A part's content: the rows, and what is in it where a reader finds that without reading on."""
    held = json.dumps(sorted(rows["address"].unique())).encode()
    begun = json.dumps(_pointers(rows["origin"].unique())).encode()
    table = pa.Table.from_pandas(rows[list(STORE_COLUMNS)], _SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata({b"addresses": held, b"beginnings": begun})
    buffer = pa.BufferOutputStream()
    texts = [column.name for column in _SCHEMA if column.type == pa.string()]
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        compression_level=level,
        use_dictionary=[*texts, "learning_rate", "correction", "horizon", "step", "seed"],
        use_byte_stream_split=["value", "outputs.list.element"],
    )
    packed: bytes = buffer.getvalue().to_pybytes()
    return packed
