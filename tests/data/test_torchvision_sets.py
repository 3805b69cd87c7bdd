"""torchvision's sets, from a server on this machine: what arrives is what the source holds."""

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from data_checks import sentence
from data_server import CIFAR10_CLASSES, cifar10_files, md5, serving, tar_gz

from nfd.data.raw import DataError
from nfd.data.sources import prepare

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"


def expect_cifar10(monkeypatch, files: dict[str, bytes], archive: bytes) -> None:
    """Give torchvision's CIFAR10 the checksums of these files."""
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    for attribute in ("train_list", "test_list"):
        listed = [[name, md5(files[name])] for name, _ in getattr(CIFAR10, attribute)]
        monkeypatch.setattr(CIFAR10, attribute, listed)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(files["batches.meta"])})


@pytest.fixture
def cifar10(monkeypatch, no_proxy):
    """(files, server): a small CIFAR-10 whose download address is the server's."""
    from torchvision.datasets import CIFAR10

    files = cifar10_files()
    archive = tar_gz({f"{FOLDER}/{name}": contents for name, contents in files.items()})
    expect_cifar10(monkeypatch, files, archive)
    with serving({ARCHIVE: archive}) as server:
        monkeypatch.setattr(CIFAR10, "url", server.url + ARCHIVE)
        yield files, server


def lay_out(root: Path, files: dict[str, bytes]) -> None:
    (root / FOLDER).mkdir(parents=True)
    for name, contents in files.items():
        (root / FOLDER / name).write_bytes(contents)


def files_under(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def all_files(files: dict[str, bytes]) -> list[str]:
    return sorted([ARCHIVE, *(f"{FOLDER}/{name}" for name in files)])


def check_cifar10(data, files: dict[str, bytes]) -> None:
    """Against the bytes of the batches, read here in the layout CIFAR-10 documents."""
    batches = [pickle.loads(files[f"data_batch_{k}"]) for k in range(1, 6)]
    planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches])
    assert data.classes == CIFAR10_CLASSES
    assert data.sample_shape == (32, 32, 3)
    assert len(data.test_labels) == 20
    found = {
        image.tobytes(): label
        for image, label in zip(data.train_values, data.train_labels, strict=True)
    }
    assert len(found) == 100
    for image, label in zip(planes, labels, strict=True):
        assert found[np.stack(list(image), axis=2).tobytes()] == label


def test_cifar10_is_downloaded_once(cifar10, tmp_path):
    files, server = cifar10
    root = tmp_path / "deep" / "data"
    data = prepare({"name": "cifar10", "root": str(root)})
    check_cifar10(data, files)
    assert files_under(root) == all_files(files)
    asked = list(server.requests)
    assert set(asked) == {ARCHIVE}
    again = prepare({"name": "cifar10", "root": str(root)})
    assert again.digest == data.digest
    assert server.requests == asked


def test_the_default_root_is_data_and_the_name(cifar10, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare({"name": "cifar10"})
    assert (tmp_path / "data" / "cifar10" / FOLDER).is_dir()


def test_a_wrong_checksum_is_refused_and_leaves_nothing(cifar10, tmp_path):
    files, server = cifar10
    right = server.files[ARCHIVE]
    server.files[ARCHIVE] = right[:-9] + b"x" + right[-8:]
    settings = {"name": "cifar10", "root": str(tmp_path)}
    with pytest.raises(DataError, match="wrong checksum") as error:
        prepare(settings)
    told = sentence(error)
    assert f"put a copy from {server.url}{ARCHIVE} (170.5 MB, MD5 {md5(right)})" in told
    assert f"at {tmp_path / ARCHIVE}, or name a folder that holds one as dataset.root" in told
    assert files_under(tmp_path) == []
    server.files[ARCHIVE] = right
    check_cifar10(prepare(settings), files)


def test_a_broken_connection_is_refused_and_a_second_try_succeeds(cifar10, tmp_path):
    files, server = cifar10
    server.broken = {ARCHIVE}
    settings = {"name": "cifar10", "root": str(tmp_path)}
    with pytest.raises(DataError, match=r"cut short.* are kept for the next try") as error:
        prepare(settings)
    sentence(error)
    assert files_under(tmp_path) == [f".download/{ARCHIVE}.part"]
    server.broken = set()
    check_cifar10(prepare(settings), files)


def test_a_silent_server_is_given_up(cifar10, tmp_path, monkeypatch):
    _, server = cifar10
    monkeypatch.setattr("nfd.data.download.STALLED_AFTER_S", 0.2)
    server.stalled = {ARCHIVE}
    with pytest.raises(DataError, match=r"the download of .* failed \(timed out\)"):
        prepare({"name": "cifar10", "root": str(tmp_path)})
    assert files_under(tmp_path) == [f".download/{ARCHIVE}.part"]


def test_an_unreachable_server_is_named(cifar10, tmp_path):
    _, server = cifar10
    server.files.clear()
    with pytest.raises(DataError, match=r"cifar10: the download of http.* failed \(.*Not Found"):
        prepare({"name": "cifar10", "root": str(tmp_path)})
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=r"cifar10: the download of .* failed \(.*refused") as error:
        prepare({"name": "cifar10", "root": str(tmp_path)})
    assert "name a folder that holds one as dataset.root" in sentence(error)
    assert files_under(tmp_path) == []


def test_an_existing_copy_needs_no_server(cifar10, tmp_path):
    files, server = cifar10
    lay_out(tmp_path / "unpacked", files)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / ARCHIVE).write_bytes(server.files[ARCHIVE])
    for copy in ("unpacked", "packed"):
        data = prepare({"name": "cifar10", "root": str(tmp_path / copy), "download": False})
        check_cifar10(data, files)
    assert server.requests == []
    assert files_under(tmp_path / "unpacked") == [f"{FOLDER}/{name}" for name in sorted(files)]


def test_without_download_an_incomplete_copy_is_refused(cifar10, tmp_path):
    files, server = cifar10
    lay_out(tmp_path, files)
    (tmp_path / FOLDER / "data_batch_3").unlink()
    settings = {"name": "cifar10", "root": str(tmp_path)}
    with pytest.raises(DataError, match=r"dataset\.download is false; put a copy from .*"):
        prepare({**settings, "download": False})
    assert server.requests == []
    check_cifar10(prepare(settings), files)


class Payload:
    """Pickled, this creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_an_altered_pickle_is_never_unpickled(cifar10, tmp_path, name):
    files, server = cifar10
    trace = tmp_path / "it-ran"
    evil = pickle.dumps(Payload(trace))
    pickle.loads(evil).close()
    assert trace.exists()  # the payload works
    trace.unlink()
    lay_out(tmp_path / "data", {**files, name: evil})
    for download in (True, False):
        with pytest.raises(DataError, match=f"{name} does not have the checksum") as error:
            prepare({"name": "cifar10", "root": str(tmp_path / "data"), "download": download})
        sentence(error)
    assert not trace.exists()
    assert server.requests == []


def test_no_member_of_an_archive_lands_outside_its_folder(cifar10, tmp_path, monkeypatch):
    files, server = cifar10
    members = {f"{FOLDER}/{name}": contents for name, contents in files.items()}
    strays = {
        "../outside.txt": b"up",
        f"{FOLDER}/../../outside2.txt": b"up",
        str(tmp_path / "absolute.txt"): b"anywhere",
        f"{FOLDER}/unknown.txt": b"not part of the set",
    }
    server.files[ARCHIVE] = tar_gz({**strays, **members})
    expect_cifar10(monkeypatch, files, server.files[ARCHIVE])
    root = tmp_path / "a" / "data"
    check_cifar10(prepare({"name": "cifar10", "root": str(root)}), files)
    assert files_under(root) == all_files(files)
    assert files_under(tmp_path) == [f"a/data/{path}" for path in all_files(files)]


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST's files, compressed."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_and_fashion_mnist(name, kind, tmp_path, monkeypatch, no_proxy):
    from torchvision import datasets

    rng = np.random.default_rng(0)
    images = {
        part: rng.integers(0, 256, (30, 28, 28), dtype=np.uint8) for part in ("train", "t10k")
    }
    labels = {part: rng.permutation(np.arange(30) % 10).astype(np.uint8) for part in images}
    files = {f"{part}-images-idx3-ubyte.gz": idx(images[part]) for part in images}
    files |= {f"{part}-labels-idx1-ubyte.gz": idx(labels[part]) for part in images}
    with serving(files) as server:
        monkeypatch.setattr(
            getattr(datasets, kind), "resources", [(file, md5(files[file])) for file in files]
        )
        # The first mirror has nothing; the second is used.
        mirrors = [server.url + "empty/", server.url]
        monkeypatch.setattr(getattr(datasets, kind), "mirrors", mirrors)
        settings = {"name": name, "root": str(tmp_path)}
        server.broken = {"t10k-images-idx3-ubyte.gz"}
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz failed \(cut short\)"):
            prepare(settings)
        server.broken = set()
        prepare(settings)
    data = prepare({**settings, "download": False})
    assert data.sample_shape == (28, 28, 1)
    found = {
        image.tobytes(): label
        for image, label in zip(data.train_values, data.train_labels, strict=True)
    }
    assert found == {
        image.tobytes(): label
        for image, label in zip(images["train"], labels["train"], strict=True)
    }
    # torchvision reads the uncompressed files unchecked; here the compressed ones count.
    altered = tmp_path / kind / "raw" / "train-labels-idx1-ubyte.gz"
    altered.write_bytes(idx(np.zeros(30, dtype=np.uint8)))
    with pytest.raises(DataError, match="does not have the checksum"):
        prepare(settings)


def test_svhn(tmp_path, monkeypatch, no_proxy):
    import io

    from scipy.io import savemat
    from torchvision.datasets import SVHN

    rng = np.random.default_rng(0)
    images = {
        part: rng.integers(0, 256, (32, 32, 3, 40), dtype=np.uint8) for part in ("train", "test")
    }
    labels = {part: rng.permutation(np.arange(40) % 10 + 1) for part in images}  # 10 means zero
    files = {}
    for part in images:
        packed = io.BytesIO()
        savemat(packed, {"X": images[part], "y": labels[part][:, None]})
        files[f"{part}_32x32.mat"] = packed.getvalue()
    with serving(files) as server:
        split_list = {
            part: [
                f"{server.url}{part}_32x32.mat",
                f"{part}_32x32.mat",
                md5(files[f"{part}_32x32.mat"]),
            ]
            for part in images
        }
        monkeypatch.setattr(SVHN, "split_list", split_list)
        data = prepare({"name": "svhn", "root": str(tmp_path)})
    found = {
        image.tobytes(): label
        for image, label in zip(data.test_values, data.test_labels, strict=True)
    }
    assert found == {
        np.ascontiguousarray(images["test"][..., i]).tobytes(): labels["test"][i] % 10
        for i in range(40)
    }


def test_cifar100_uses_the_fine_labels(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    rng = np.random.default_rng(0)
    batch = {
        "data": rng.integers(0, 256, (200, 3072), dtype=np.uint8),
        "fine_labels": [int(k) % 100 for k in rng.permutation(200)],
        "coarse_labels": [0] * 200,
    }
    names = [f"fine {k}" for k in range(100)]
    files = {
        "train": pickle.dumps(batch),
        "test": pickle.dumps(batch),
        "meta": pickle.dumps({"fine_label_names": names, "coarse_label_names": ["x"]}),
    }
    folder = tmp_path / CIFAR100.base_folder
    folder.mkdir()
    for name, contents in files.items():
        (folder / name).write_bytes(contents)
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(files["test"])]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5(files["meta"])})
    data = prepare({"name": "cifar100", "root": str(tmp_path), "download": False})
    assert data.classes == tuple(names)
    assert np.bincount(data.train_labels).tolist() == [2] * 100
