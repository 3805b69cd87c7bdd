"""Look after the store of trained networks: its size, its truth, what is in it. docs/store.md explains."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from check_config import load

from nfd.data.raw import DataError
from nfd.pipeline.adopt import ADOPTION_TOLERANCE, adopt
from nfd.pipeline.config import ConfigError
from nfd.pipeline.script import run_script
from nfd.pipeline.states import States
from nfd.pipeline.store import Store, StoreError, default_folder
from nfd.pipeline.upkeep import LOSS_TOLERANCE, TOLERANCE, addresses_of, verify


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.command(Store(arguments.store), arguments)
        return status
    except (OSError, ConfigError, DataError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--store", default=default_folder(), type=Path, help="folder (NFD_STORE, or work/store)"
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, command: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("size", _size, "Show how much is kept.")
    checking = add("verify", _verify, "Train a random sample again and compare.")
    checking.add_argument("--sample", type=int, default=5, help="how many networks")
    checking.add_argument("--seed", type=int, default=0, help="which ones")
    checking.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    checking.add_argument("--data", nargs="+", help="prepared data sets (results/*/data.npz)")
    _add_configs(add("prune", _prune, "Drop what none of the given configurations uses."))
    exporting = add("export", _export, "Write what configurations use to one file.")
    _add_configs(exporting)
    exporting.add_argument("--output", required=True, help="file to write, .parquet")
    adopting = add(
        "adopt", _adopt, "Keep what other code has trained, if its beginnings come out again."
    )
    _add_configs(adopting)
    adopting.add_argument("--share", type=_share, default=0.1, help="of training that is checked")
    adopting.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    importing = add("import", _import, "Add the networks of exported files.")
    importing.add_argument("files", nargs="+", help="files that 'export' wrote")
    return parser


def _add_configs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", nargs="+", required=True, type=Path, help="each laid over config/config.yaml"
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of training above 0 and up to 1")
    return share


def _used(arguments: argparse.Namespace) -> set[str]:
    """Addresses that the configurations use."""
    used = set()
    for path in arguments.config:
        used |= addresses_of(load(path))
    return used


def _size(store: Store, arguments: argparse.Namespace) -> int:
    sizes, states = store.sizes(), States.beside(store.folder).sizes()
    megabytes = sizes["bytes"].sum() / 2**20
    print(
        f"{store.folder}: {len(store.addresses())} networks and simulations "
        f"in {len(sizes)} files, {megabytes:.1f} MiB; "
        f"states of {len(states)} networks, {sum(states) / 2**20:.1f} MiB"
    )
    return 0


def _verify(store: Store, arguments: argparse.Namespace) -> int:
    paths = arguments.data or sorted(Path("results").glob("*/data.npz"))
    checks, known = verify(store, paths, arguments.sample, arguments.seed, arguments.device)
    for check in checks:
        verdict = "as kept" if check.passed else "NOT AS KEPT"
        print(
            f"{check.address[:12]} width {check.width}: {verdict}, difference {check.difference:.1e}"
        )
    failed = sum(not check.passed for check in checks)
    print(
        f"{len(checks)} of {known} networks of the present code and data made again, {failed} differ "
        f"(allowed: nothing at small widths; where kernels may be others, {LOSS_TOLERANCE:g} of losses "
        f"and {TOLERANCE:g} of other numbers)"
    )
    return 1 if failed else 0


def _adopt(store: Store, arguments: argparse.Namespace) -> int:
    found = adopted = 0
    none = []
    for path in arguments.config:
        for job in adopt(store, load(path), arguments.device, arguments.share):
            maker = ", ".join(f"{name} {value}" for name, value in job.maker.items())
            print(
                f"{job.experiment}: {job.job}: {job.found} of {maker}; {job.checked} made again to step "
                f"{job.checked_steps} of {job.steps}, {job.as_kept} as kept (to {job.difference:.1e}): "
                f"{job.adopted or 'NONE'} adopted",
                flush=True,
            )
            found, adopted = found + job.found, adopted + job.adopted
            none += [] if job.adopted else [f"{job.experiment}: {job.job}"]
    print(
        f"{adopted} of {found} networks and simulations adopted (allowed: {ADOPTION_TOLERANCE:g})"
    )
    if none:
        print(
            f"more than a tenth of their networks differ: {', '.join(none)}; either the code trains others "
            "now, or they are so close to the edge of stability that a shorter check is needed (--share)",
            file=sys.stderr,
        )
    return 1 if none else 0


def _prune(store: Store, arguments: argparse.Namespace) -> int:
    used = _used(arguments)
    dropped = store.keep_only(used)
    States.beside(store.folder).keep_only(used)
    print(f"{dropped} networks and simulations dropped")
    return _size(store, arguments)


def _export(store: Store, arguments: argparse.Namespace) -> int:
    used = _used(arguments)
    count = store.export(used, arguments.output)
    size = Path(arguments.output).stat().st_size / 2**20
    print(f"{arguments.output}: {count} networks and simulations, {size:.2f} MiB")
    return 0


def _import(store: Store, arguments: argparse.Namespace) -> int:
    for path in arguments.files:
        print(f"{path}: {store.import_from(path)} networks and simulations added")
    return 0


if __name__ == "__main__":
    run_script(main)
