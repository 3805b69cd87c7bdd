"""Data sets: what arrives is what the source holds, and what is damaged is refused in one sentence."""

import collections
import gzip
import importlib.util
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_server import CIFAR10_CLASSES, cifar10_files, md5, serving, tar_gz
from PIL import Image
from sklearn.datasets import load_digits

from nfd.datasets import DataError, _scaling, balanced_order, check_settings, load, prepare, save

SCRIPT = Path(__file__).parents[1] / "scripts" / "prepare_data.py"


@pytest.fixture(scope="module")
def digits():
    return prepare({"name": "digits"})


def rows(pixels: np.ndarray) -> collections.Counter:
    """The images as a multiset."""
    return collections.Counter(image.tobytes() for image in np.ascontiguousarray(pixels))


def sentence(error: pytest.ExceptionInfo) -> str:
    """The message, checked to be one line."""
    text = str(error.value)
    assert "\n" not in text
    return text


# ---- digits --------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_images_each_once(digits):
    original = load_digits()
    assert rows(digits.train_pixels) + rows(digits.test_pixels) == rows(
        original.images.astype(np.uint8)
    )
    with_label = {
        image.astype(np.uint8).tobytes(): label
        for image, label in zip(original.images, original.target, strict=True)
    }
    for pixels, labels in (
        (digits.train_pixels, digits.train_labels),
        (digits.test_pixels, digits.test_labels),
    ):
        assert [with_label[image.tobytes()] for image in pixels] == labels.tolist()


def test_digits_split_is_stratified_and_documented(digits):
    assert len(digits.train_labels) == 1437
    assert np.bincount(digits.test_labels).tolist() == [36] * 10
    assert digits.image_shape == (8, 8, 1)
    assert digits.input_dim == 64
    assert digits.classes == tuple("0123456789")


def test_digits_are_the_same_in_every_process(digits):
    # Pinned: a change here changes every result on this set.
    assert digits.digest[:12] == "fceadf2a0f77"
    assert digits.test_labels[:12].tolist() == [5, 4, 9, 2, 3, 8, 1, 7, 6, 0, 9, 5]
    assert int(digits.test_pixels[:100].astype(np.int64).sum()) == 31926


# ---- scaling -------------------------------------------------------------------------------------


def test_scaling_is_the_documented_one(image_folder):
    data = prepare({"name": "image_folder", "root": str(image_folder)})
    pixels = data.train_pixels.astype(np.float64)
    centred = pixels - pixels.mean(axis=(0, 1, 2))
    scale = 1 / np.sqrt(np.mean(centred**2))
    # float32 keeps 24 bits: inputs are of order 1, pixels up to 255, so 1e-4 leaves a wide margin
    # and still sees a missing mean or a per-channel scale.
    expected = (centred * scale).reshape(len(pixels), -1)
    assert data.train_inputs.dtype == np.float32
    np.testing.assert_allclose(data.train_inputs, expected, atol=1e-4)
    test = (data.test_pixels - pixels.mean(axis=(0, 1, 2))) * scale
    np.testing.assert_allclose(data.test_inputs, test.reshape(len(test), -1), atol=1e-4)


def test_training_inputs_have_unit_mean_square_and_centred_channels(digits, image_folder):
    for data in (digits, prepare({"name": "image_folder", "root": str(image_folder)})):
        inputs = data.train_inputs.astype(np.float64)
        assert np.mean(np.sum(inputs**2, axis=1) / data.input_dim) == pytest.approx(1, abs=1e-6)
        channels = inputs.reshape(len(inputs), *data.image_shape).mean(axis=(0, 1, 2))
        np.testing.assert_allclose(channels, 0, atol=1e-6)
        # Negative control: the test set is scaled with the training set's numbers, not its own.
        test = data.test_inputs.astype(np.float64)
        assert abs(np.mean(test**2) - 1) > 1e-4


def test_sums_over_a_large_set_do_not_overflow():
    # 20 million pixels, a tenth of them 0 and the rest 255: the sum exceeds 32 bits.
    pixels = np.full((78_120, 16, 16, 1), 255, dtype=np.uint8)
    pixels[::10] = 0
    mean, scale = _scaling(pixels)
    assert mean == pytest.approx([0.9 * 255], rel=1e-12)
    assert scale == pytest.approx(1 / (0.3 * 255), rel=1e-12)


# ---- order and subsets ---------------------------------------------------------------------------


def test_subsets_are_nested_and_balanced(digits):
    small, large = digits.subset(95, 40), digits.subset(500, 200)
    np.testing.assert_array_equal(small.train_pixels, large.train_pixels[:95])
    np.testing.assert_array_equal(small.test_labels, large.test_labels[:40])
    np.testing.assert_array_equal(small.train_inputs, digits.train_inputs[:95])  # same scaling
    for n in (10, 95, 500, 1280):
        counts = np.bincount(digits.train_labels[:n], minlength=10)
        assert counts.max() - counts.min() <= 1
    assert len(digits.subset().train_labels) == 1437
    with pytest.raises(DataError, match="1437 train images"):
        digits.subset(1438)


def test_order_is_a_permutation_and_takes_turns_in_uneven_classes():
    labels = np.repeat([0, 1, 2], [5, 50, 20])
    order = balanced_order(labels, "x")
    assert sorted(order) == list(range(75))
    taken = labels[order]
    assert all(sorted(taken[3 * r : 3 * r + 3]) == [0, 1, 2] for r in range(5))
    assert sorted(np.bincount(taken[15:45], minlength=3)) == [0, 15, 15]
    assert set(taken[45:]) == {1}
    # The turn within a round is random, so that no class is favoured by sizes between the rounds.
    assert len({tuple(taken[3 * r : 3 * r + 3]) for r in range(5)}) > 1
    assert not np.array_equal(order, balanced_order(labels, "y"))


def test_sizes_in_the_settings_take_the_beginning(digits):
    part = prepare({"name": "digits", "train_size": 100, "test_size": 50, "label": "few digits"})
    np.testing.assert_array_equal(part.train_pixels, digits.train_pixels[:100])
    np.testing.assert_array_equal(part.test_labels, digits.test_labels[:50])
    assert part.label == "few digits"
    assert part.digest == digits.digest  # of the whole source
    assert np.mean(part.train_inputs.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-6)
    with pytest.raises(DataError, match=r"dataset\.test_size: 361 .* 360 test images of digits"):
        prepare({"name": "digits", "test_size": 361})


# ---- the prepared file ---------------------------------------------------------------------------


def test_a_saved_file_gives_back_the_same_and_the_same_bytes(digits, tmp_path):
    save(digits, tmp_path / "a.npz")
    save(prepare({"name": "digits"}), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.train_inputs, digits.train_inputs)
    np.testing.assert_array_equal(back.test_inputs, digits.test_inputs)
    np.testing.assert_array_equal(back.train_labels, digits.train_labels)
    assert back.train_labels.dtype == np.int64
    for field in ("name", "label", "classes", "digest", "scale"):
        assert getattr(back, field) == getattr(digits, field)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_truncated_or_altered_file_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    save(prepare({"name": "digits", "train_size": 20, "test_size": 10}), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"data\.npz is not a whole prepared data set") as error:
            load(path)
        sentence(error)
    pixel = whole.index(prepare({"name": "digits", "train_size": 20}).train_pixels.tobytes()) + 99
    path.write_bytes(whole[:pixel] + bytes([whole[pixel] ^ 1]) + whole[pixel + 1 :])
    with pytest.raises(DataError, match="CRC"):
        load(path)


def test_foreign_and_missing_files_are_refused(digits, tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(DataError, match="does not exist"):
        load(path)
    np.savez(path, x=np.arange(3))
    with pytest.raises(DataError, match="not of the format"):
        load(path)
    np.save(tmp_path / "data.npy", np.arange(3))
    for foreign in ((tmp_path / "data.npy").read_bytes(), b"hello", pickle.dumps([1])):
        path.write_bytes(foreign)
        with pytest.raises(DataError, match="not a whole prepared data set"):
            load(path)
    save(digits, path)
    fields = dict(np.load(path))
    np.savez(path, **{**fields, "train_labels": fields["train_labels"][:-1]})
    with pytest.raises(DataError, match="do not belong together"):
        load(path)


# ---- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"dataset\.name: None is unknown; choose one of digits, cifar10"),
        ({"name": "cifar-10"}, r"dataset\.name: 'cifar-10' is unknown"),
        ({"name": "digits", "size": 3}, r"dataset\.size: unknown key"),
        ({"name": "digits", "train_size": 0}, r"dataset\.train_size: 0 is not a positive number"),
        ({"name": "digits", "train_size": True}, r"dataset\.train_size: True is not"),
        ({"name": "digits", "test_size": "9"}, r"dataset\.test_size: '9' is not"),
        ({"name": "digits", "download": 1}, r"dataset\.download: 1 is not true or false"),
        ({"name": "digits", "image_size": 4}, r"dataset\.image_size: only image_folder"),
        ({"name": "image_folder"}, r"dataset\.root: missing"),
        ({"name": "image_folder", "root": "nowhere"}, r"dataset\.root: there is no folder nowhere"),
        ({"name": "svhn", "root": "nowhere", "download": False}, "there is no folder nowhere"),
    ],
)
def test_wrong_settings_are_named(settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for check in (check_settings, prepare):
        with pytest.raises(DataError, match=message) as error:
            check(settings)
        sentence(error)


def test_checking_settings_loads_nothing_heavy_and_null_means_absent(tmp_path):
    code = (
        "import sys; from nfd.datasets import check_settings\n"
        "check_settings({'name': 'cifar10', 'root': None, 'train_size': None})\n"
        "print({'torch', 'torchvision', 'sklearn', 'scipy', 'PIL', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.strip() == "set()"
    assert not list(tmp_path.iterdir())


# ---- image folders -------------------------------------------------------------------------------


def picture(seed: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    """A smooth colour picture (height, width, 3), so that JPEG keeps it nearly as it is."""
    width, height = size
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """Two classes; per class 4 training and 2 test images of 6x5 pixels, all PNG."""
    root = tmp_path / "pictures"
    for split, count in (("train", 4), ("test", 2)):
        for k, name in enumerate(("cat", "owl")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = picture(seed=100 * k + 10 * count + i)
                Image.fromarray(pixels).save(folder / f"{i:04d}.png")
    return root


def settings_of(root: Path, **more) -> dict:
    return {"name": "image_folder", "root": str(root), **more}


def test_image_folder_keeps_png_pixels_and_labels(image_folder):
    data = prepare(settings_of(image_folder))
    assert data.classes == ("cat", "owl")
    assert data.label == "pictures"
    assert data.image_shape == (5, 6, 3)
    for k in range(2):
        expected = [picture(100 * k + 40 + i) for i in range(4)]
        assert rows(data.train_pixels[data.train_labels == k]) == rows(np.stack(expected))
    assert np.bincount(data.test_labels).tolist() == [2, 2]


def test_digest_follows_contents_not_file_names(image_folder):
    digest = prepare(settings_of(image_folder)).digest
    images = image_folder / "train" / "cat"
    (images / "0003.png").rename(images / "last.PNG")
    (images / "notes.txt").write_text("not an image")
    (images / ".hidden.png").write_text("nor this")
    assert prepare(settings_of(image_folder)).digest == digest
    changed = picture(143)
    changed = np.where(np.arange(3) == 2, changed ^ 1, changed)
    Image.fromarray(changed).save(images / "last.PNG")
    assert prepare(settings_of(image_folder)).digest != digest


def test_jpeg_images_are_read(image_folder):
    exact = prepare(settings_of(image_folder))
    for path in image_folder.rglob("*.png"):
        suffix = ".jpg" if path.stem.endswith("0") else ".JPEG"
        Image.open(path).save(path.with_suffix(suffix), quality=95, subsampling=0)
        path.unlink()
    data = prepare(settings_of(image_folder))
    difference = data.train_pixels.astype(int) - exact.train_pixels.astype(int)
    # Smooth pictures at quality 95: a few grey levels; another picture would differ by tens.
    assert 0 < np.abs(difference).mean() < 4


def test_images_are_resized_on_request(image_folder):
    Image.fromarray(picture(7, (12, 9))).save(image_folder / "train" / "owl" / "big.png")
    data = prepare(settings_of(image_folder, image_size=4))
    assert data.image_shape == (4, 4, 3)
    whole = Image.fromarray(picture(7, (12, 9))).resize((4, 4), Image.Resampling.BICUBIC)
    assert rows(data.train_pixels)[np.asarray(whole).tobytes()] == 1


def test_grayscale_is_the_luminance(image_folder):
    data = prepare(settings_of(image_folder, grayscale=True))
    assert data.image_shape == (5, 6, 1)
    luminance = picture(40) @ np.array([0.299, 0.587, 0.114])
    closest = np.abs(data.train_pixels[..., 0] - luminance).max(axis=(1, 2)).min()
    assert closest <= 1


def test_modes_are_brought_to_rgb(image_folder):
    folder = image_folder / "train" / "cat"
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    Image.fromarray(grey).save(folder / "grey.png")
    opaque = np.full((5, 6, 1), 255, dtype=np.uint8)
    Image.fromarray(np.concatenate([picture(9), opaque], axis=2)).save(folder / "alpha.png")
    found = rows(prepare(settings_of(image_folder)).train_pixels)
    assert found[np.stack([grey] * 3, axis=2).tobytes()] == 1
    assert found[picture(9).tobytes()] == 1


def test_mixed_sizes_name_the_odd_file(image_folder):
    odd = image_folder / "train" / "owl" / "0002.png"
    Image.fromarray(picture(1, (7, 5))).save(odd)
    with pytest.raises(DataError, match=r"image_size to resize") as error:
        prepare(settings_of(image_folder))
    assert f"{odd} has 7x5 pixels but" in sentence(error)
    assert "0000.png has 6x5" in sentence(error)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named(image_folder, suffix):
    path = image_folder / "test" / "owl" / f"broken{suffix}"
    Image.fromarray(picture(1)).save(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"not a whole PNG or JPEG image") as error:
            prepare(settings_of(image_folder))
        assert str(path) in sentence(error)


def test_other_contents_under_an_image_name_are_refused(image_folder):
    path = image_folder / "train" / "cat" / "0000.png"
    Image.fromarray(picture(1)).save(path, format="GIF")
    with pytest.raises(DataError, match=r"0000\.png is not a whole PNG or JPEG"):
        prepare(settings_of(image_folder))
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(5, 6) * 999).save(path)
    with pytest.raises(DataError, match=r"0000\.png has more than 8 bits per channel"):
        prepare(settings_of(image_folder))


def test_plain_images_cannot_be_scaled(image_folder):
    for path in image_folder.rglob("*.png"):
        Image.fromarray(np.full((5, 6, 3), 30, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="one and the same plain colour"):
        prepare(settings_of(image_folder))


def test_wrong_folders_are_named_before_anything_is_read(image_folder):
    def refused(pattern: str) -> None:
        with pytest.raises(DataError, match=pattern) as error:
            check_settings(settings_of(image_folder))
        sentence(error)

    check_settings(settings_of(image_folder))
    (image_folder / "train" / "emu").mkdir()
    refused(r"class 'emu' is in .*train but not in .*test")
    (image_folder / "test" / "emu").mkdir()
    refused(r"train/emu holds no \.png, \.jpg or \.jpeg file")
    (image_folder / "train" / "emu").rmdir()
    refused(r"class 'emu' is in .*test but not in .*train")
    shutil.rmtree(image_folder / "test")
    refused(r"there is no folder .*pictures/test")
    (image_folder / "test").mkdir()
    refused(r"pictures/test has no class folders")


# ---- torchvision's sets, from a server on this machine -------------------------------------------

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"


@pytest.fixture
def no_proxy(monkeypatch):
    """Proxies of the environment do not know this machine's server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


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
    assert data.image_shape == (32, 32, 3)
    assert len(data.test_labels) == 20
    found = {
        image.tobytes(): label
        for image, label in zip(data.train_pixels, data.train_labels, strict=True)
    }
    assert len(found) == 100
    for image, label in zip(planes, labels, strict=True):
        assert found[np.stack(list(image), axis=2).tobytes()] == label


def test_cifar10_is_downloaded_once(cifar10, tmp_path):
    files, server = cifar10
    root = tmp_path / "deep" / "data"
    data = prepare({"name": "cifar10", "root": str(root)})
    check_cifar10(data, files)
    assert data.label == "CIFAR-10"
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
    assert f"put a copy at {tmp_path / ARCHIVE}" in sentence(error)
    assert files_under(tmp_path) == []
    server.files[ARCHIVE] = right
    check_cifar10(prepare(settings), files)


def test_a_broken_connection_is_refused_and_a_second_try_succeeds(cifar10, tmp_path):
    files, server = cifar10
    server.broken = {ARCHIVE}
    settings = {"name": "cifar10", "root": str(tmp_path)}
    with pytest.raises(DataError, match="cut short") as error:
        prepare(settings)
    sentence(error)
    assert files_under(tmp_path) == []
    server.broken = set()
    check_cifar10(prepare(settings), files)


def test_a_silent_server_is_given_up(cifar10, tmp_path, monkeypatch):
    _, server = cifar10
    monkeypatch.setattr("nfd.datasets._STALLED_AFTER_S", 0.2)
    server.stalled = {ARCHIVE}
    with pytest.raises(DataError, match=r"the download of .* failed \(timed out\)"):
        prepare({"name": "cifar10", "root": str(tmp_path)})
    assert files_under(tmp_path) == []


def test_an_unreachable_server_is_named(cifar10, tmp_path):
    _, server = cifar10
    server.files.clear()
    with pytest.raises(DataError, match=r"cifar10: the download of http.* failed \(.*Not Found"):
        prepare({"name": "cifar10", "root": str(tmp_path)})
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=r"cifar10: the download of .* failed \(.*refused") as error:
        prepare({"name": "cifar10", "root": str(tmp_path)})
    assert "name a folder with one as dataset.root" in sentence(error)
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
    with pytest.raises(DataError, match=r"dataset\.download is false; put a copy at"):
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
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz has the wrong checksum"):
            prepare(settings)
        server.broken = set()
        prepare(settings)
    data = prepare({**settings, "download": False})
    assert data.image_shape == (28, 28, 1)
    found = {
        image.tobytes(): label
        for image, label in zip(data.train_pixels, data.train_labels, strict=True)
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
        for image, label in zip(data.test_pixels, data.test_labels, strict=True)
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


# ---- the script ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("prepare_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_the_script_writes_the_prepared_file(script, tmp_path, capsys, digits):
    output = tmp_path / "new" / "digits.npz"
    assert script(["--settings", json.dumps({"name": "digits"}), "--output", str(output)]) == 0
    assert "1437 train and 360 test images of 8x8x1, 10 classes" in capsys.readouterr().out
    np.testing.assert_array_equal(load(output).train_inputs, digits.train_inputs)


@pytest.mark.parametrize("settings", ['{"name": "imagenet"}', "{", "[]"])
def test_the_script_says_what_is_wrong_in_one_line(script, tmp_path, capsys, settings):
    output = tmp_path / "data.npz"
    assert script(["--settings", settings, "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert not output.exists()


def test_a_file_that_cannot_be_written_is_named(script, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "data.npz"
    assert script(["--settings", '{"name": "digits"}', "--output", str(output)]) == 1
    assert f"cannot write {output}" in capsys.readouterr().err


# ---- the whole of CIFAR-10 as an image folder ----------------------------------------------------


def test_sixty_thousand_images(tmp_path):
    root = os.environ.get("NFD_IMAGE_FOLDER")
    if not root:
        pytest.skip("set NFD_IMAGE_FOLDER to a folder with CIFAR-10's 60,000 images to run this")
    data = prepare(settings_of(Path(root)))
    assert np.bincount(data.train_labels).tolist() == [5000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.classes == CIFAR10_CLASSES
    assert data.image_shape == (32, 32, 3)
    squares = np.einsum("nd,nd->", data.train_inputs, data.train_inputs, dtype=np.float64)
    assert squares / data.train_inputs.size == pytest.approx(1, abs=1e-6)
    # Channel means and standard deviation of the original pixels, as published with many CIFAR-10
    # recipes (0.4914, 0.4822, 0.4465 of 255); JPEG leaves them within a third of a grey level.
    np.testing.assert_allclose(data.channel_mean / 255, [0.4914, 0.4822, 0.4465], atol=0.0013)
    save(data, tmp_path / "cifar10.npz")
    assert (tmp_path / "cifar10.npz").stat().st_size < 190e6
    small = load(tmp_path / "cifar10.npz").subset(1000, 500)
    np.testing.assert_array_equal(small.train_inputs, data.train_inputs[:1000])
    assert np.bincount(small.test_labels).tolist() == [50] * 10
