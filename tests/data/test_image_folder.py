"""Image folders: read as a viewer shows them; what cannot be read is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_checks import picture, rows, sentence, settings_of
from data_server import CIFAR10_CLASSES
from PIL import Image

from nfd.data.prepared import facts, load, save
from nfd.data.raw import DataError
from nfd.data.sources import check_settings, fingerprint, prepare


def test_image_folder_keeps_png_pixels_and_labels(image_folder):
    data = prepare(settings_of(image_folder))
    assert data.classes == ("cat", "owl")
    assert data.sample_shape == (5, 6, 3)
    for k in range(2):
        expected = [picture(100 * k + 40 + i) for i in range(4)]
        assert rows(data.train_values[data.train_labels == k]) == rows(np.stack(expected))
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
    difference = data.train_values.astype(int) - exact.train_values.astype(int)
    # Smooth pictures at quality 95: a few grey levels; another picture would differ by tens.
    assert 0 < np.abs(difference).mean() < 4


def test_images_are_resized_on_request(image_folder):
    Image.fromarray(picture(7, (12, 9))).save(image_folder / "train" / "owl" / "big.png")
    data = prepare(settings_of(image_folder, image_size=4))
    assert data.sample_shape == (4, 4, 3)
    whole = Image.fromarray(picture(7, (12, 9))).resize((4, 4), Image.Resampling.BICUBIC)
    assert rows(data.train_values)[np.asarray(whole).tobytes()] == 1


def test_grayscale_is_the_luminance(image_folder):
    data = prepare(settings_of(image_folder, grayscale=True))
    assert data.sample_shape == (5, 6, 1)
    luminance = picture(40) @ np.array([0.299, 0.587, 0.114])
    closest = np.abs(data.train_values[..., 0] - luminance).max(axis=(1, 2)).min()
    assert closest <= 1


def test_modes_are_brought_to_rgb(image_folder):
    folder = image_folder / "train" / "cat"
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    Image.fromarray(grey).save(folder / "grey.png")
    opaque = np.full((5, 6, 1), 255, dtype=np.uint8)
    Image.fromarray(np.concatenate([picture(9), opaque], axis=2)).save(folder / "alpha.png")
    found = rows(prepare(settings_of(image_folder)).train_values)
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
        with pytest.raises(
            DataError, match=r"not a whole PNG, JPEG, WebP, BMP or TIFF image"
        ) as error:
            prepare(settings_of(image_folder))
        assert str(path) in sentence(error)


def test_other_contents_under_an_image_name_are_refused(image_folder):
    path = image_folder / "train" / "cat" / "0000.png"
    Image.fromarray(picture(1)).save(path, format="GIF")
    with pytest.raises(DataError, match=r"0000\.png is not a whole PNG, JPEG"):
        prepare(settings_of(image_folder))
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(5, 6) * 999).save(path)
    with pytest.raises(DataError, match=r"0000\.png has more than 8 bits per channel"):
        prepare(settings_of(image_folder))


def test_plain_images_cannot_be_scaled(image_folder):
    for path in image_folder.rglob("*.png"):
        Image.fromarray(np.full((5, 6, 3), 30, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="one and the same"):
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
    refused(r"train/emu holds no \.png, \.jpg, \.jpeg, \.webp, \.bmp, \.tif or \.tiff file")
    (image_folder / "train" / "emu").rmdir()
    refused(r"class 'emu' is in .*test but not in .*train")
    shutil.rmtree(image_folder / "test")
    refused(r"there is no folder .*pictures/test")
    (image_folder / "test").mkdir()
    refused(r"pictures/test has no class folders")


# ---- the whole of CIFAR-10 ----


def test_sixty_thousand_images(tmp_path):
    root = os.environ.get("NFD_IMAGE_FOLDER")
    if not root:
        pytest.skip("set NFD_IMAGE_FOLDER to a folder with CIFAR-10's 60,000 images to run this")
    data = prepare(settings_of(Path(root)))
    assert np.bincount(data.train_labels).tolist() == [5000] * 10
    assert np.bincount(data.test_labels).tolist() == [1000] * 10
    assert data.classes == CIFAR10_CLASSES
    assert data.sample_shape == (32, 32, 3)
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


# ---- as a viewer shows them ----


def lone(image_folder: Path, image, name: str, **options) -> np.ndarray:
    """What is read of ``image``, saved as the only training image of the class 'cat'."""
    folder = image_folder / "train" / "cat"
    for path in folder.iterdir():
        path.unlink()
    image.save(folder / name, **options)
    data = prepare(settings_of(image_folder))
    (pixels,) = data.train_values[data.train_labels == data.classes.index("cat")]
    return pixels


# What a viewer does with the stored pixels, for each value of the EXIF orientation (TIFF 6.0, tag 274).
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_an_image_is_turned_as_it_says(image_folder, orientation, suffix):
    stored = picture(3, (5, 6) if orientation >= 5 else (6, 5))
    exif = Image.Exif()
    exif[274] = orientation
    read = lone(image_folder, Image.fromarray(stored), f"turned{suffix}", exif=exif)
    np.testing.assert_array_equal(read, TURNS[orientation](stored))


def test_a_turned_photograph_among_others_has_their_size(image_folder):
    exif = Image.Exif()
    exif[274] = 6
    path = image_folder / "train" / "cat" / "9.jpg"
    Image.fromarray(picture(3, (5, 6))).save(path, exif=exif)
    assert prepare(settings_of(image_folder)).sample_shape == (5, 6, 3)


def transparent(mode: str) -> Image.Image:
    """6x5, opaque red on the left half, and on the right half blue that nobody sees."""
    colours = np.zeros((5, 6, 4), dtype=np.uint8)
    colours[:, :3] = (255, 0, 0, 255)
    colours[:, 3:] = (0, 0, 255, 0)
    image = Image.fromarray(colours, "RGBA") if mode == "RGBA" else None
    if mode == "LA":
        grey = np.full((5, 6, 2), (76, 255), dtype=np.uint8)
        grey[:, 3:] = (9, 0)
        image = Image.fromarray(grey, "LA")
    if mode == "P":
        image = Image.new("P", (6, 5))
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.paste(1, (3, 0, 6, 5))
        image.info["transparency"] = 1
    if mode == "RGB":
        image = Image.fromarray(colours[..., :3])
        image.info["transparency"] = (0, 0, 255)
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_is_white(image_folder, mode):
    image = transparent(mode)
    options = {"transparency": image.info["transparency"]} if image.info else {}
    read = lone(image_folder, image, "through.png", **options)
    assert (read[:, 3:] == 255).all()
    assert (read[:, :3] == ((76, 76, 76) if mode == "LA" else (255, 0, 0))).all()


def test_half_transparency_is_half_white(image_folder):
    colours = np.full((5, 6, 4), (200, 0, 100, 128), dtype=np.uint8)
    read = lone(image_folder, Image.fromarray(colours), "half.png")
    share = 128 / 255
    expected = np.array([200, 0, 100]) * share + 255 * (1 - share)
    assert np.abs(read - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tif", ".TIFF"])
def test_other_formats_are_read_like_png(image_folder, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    read = lone(image_folder, Image.fromarray(picture(5)), f"x{suffix}", **options)
    np.testing.assert_array_equal(read, picture(5))


def test_what_is_not_read_is_counted(image_folder):
    assert prepare(settings_of(image_folder)).skipped == ""
    cats = image_folder / "train" / "cat"
    (cats / "more").mkdir()
    Image.fromarray(picture(1)).save(cats / "more" / "1.png")
    for name in ("a.txt", "b.TXT", "README"):
        (cats / name).touch()
    (image_folder / "test" / "stray.png").touch()
    (cats / ".DS_Store").touch()
    data = prepare(settings_of(image_folder))
    assert data.skipped == (
        "4 files (1 .png, 2 .txt, 1 without suffix) and 1 sub-folder of class folders"
    )
    assert len(data.train_labels) == 8


def test_too_many_pixels_are_refused_under_that_name(image_folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    Image.fromarray(picture(1, (9, 9))).save(image_folder / "train" / "owl" / "big.png")
    with pytest.raises(DataError, match=r"big\.png has too many pixels, more than 80") as error:
        prepare(settings_of(image_folder))
    assert "not a whole" not in sentence(error)


# ---- names and folders ----


def test_names_that_look_the_same_are_the_same(image_folder):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (image_folder / "train" / "cat").rename(image_folder / "train" / composed)
    (image_folder / "test" / "cat").rename(image_folder / "test" / decomposed)
    assert prepare(settings_of(image_folder)).classes == (composed, "owl")
    shutil.copytree(image_folder / "train" / "owl", image_folder / "train" / decomposed)
    with pytest.raises(DataError, match="two folders that both read as 'café'") as error:
        check_settings(settings_of(image_folder))
    sentence(error)


def test_the_same_names_in_every_locale(image_folder):
    """Without UTF-8, Python sees the bytes of a name as something else."""
    for split in ("train", "test"):
        (image_folder / split / "cat").rename(image_folder / split / "chat-été")
    code = (
        "import sys; from nfd.data.sources import prepare;"
        "print(prepare({'name': 'image_folder', 'root': sys.argv[1]}).digest)"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    answer = subprocess.run(
        [sys.executable, "-c", code, str(image_folder)], env=plain, capture_output=True, text=True
    )
    assert answer.stdout.strip() == prepare(settings_of(image_folder)).digest, answer.stderr


def test_a_class_name_that_is_not_utf8_is_named(image_folder):
    os.mkdir(os.fsencode(image_folder / "train") + b"/caf\xe9")
    with pytest.raises(DataError, match=r"train/caf\\xe9 is not UTF-8; rename it") as error:
        check_settings(settings_of(image_folder))
    sentence(error)


def test_a_file_name_that_is_not_utf8_is_read_and_can_be_named(image_folder):
    odd = os.fsencode(image_folder / "train" / "cat") + b"/\xe9.png"
    Image.fromarray(picture(8)).save(image_folder / "x.png")
    os.rename(image_folder / "x.png", odd)
    assert len(prepare(settings_of(image_folder)).train_labels) == 9
    with open(odd, "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError, match=r"cat/\\xe9\.png is not a whole") as error:
        prepare(settings_of(image_folder))
    sentence(error)


@pytest.mark.parametrize("closed", ["train", "train/lost+found", "test/owl"])
def test_a_folder_that_may_not_be_read_is_named(image_folder, monkeypatch, closed):
    """As for a user who is not root; root may read anything, so scandir says it here."""
    scandir, target = os.scandir, str(image_folder / closed)
    for split in ("train", "test") if "lost" in closed else ():
        (image_folder / split / "lost+found").mkdir()

    def refuse(path):
        if str(path) == target:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError) as error:
        check_settings(settings_of(image_folder))
    assert f"cannot read the folder {target}: Permission denied" in sentence(error)


def test_a_stray_folder_is_named(image_folder):
    (image_folder / "train" / "lost+found").mkdir()
    with pytest.raises(DataError, match=r"class 'lost\+found' is in .*move away") as error:
        check_settings(settings_of(image_folder))
    sentence(error)


def test_one_class_only_is_refused(image_folder):
    for split in ("train", "test"):
        shutil.rmtree(image_folder / split / "owl")
    with pytest.raises(DataError, match="one class only, 'cat', so there is nothing to learn"):
        check_settings(settings_of(image_folder))


# ---- whether files have changed ----


def changes(image_folder: Path) -> dict:
    cats = image_folder / "train" / "cat"
    return {
        "added": lambda: Image.fromarray(picture(1)).save(cats / "new.png"),
        "replaced": lambda: shutil.copyfile(cats / "0001.png", cats / "0000.png"),
        "removed": lambda: (cats / "0000.png").unlink(),
        "renamed": lambda: (cats / "0000.png").rename(cats / "z.png"),
        "touched": lambda: os.utime(cats / "0000.png", ns=(1, 1)),
    }


@pytest.mark.parametrize("change", ["added", "replaced", "removed", "renamed", "touched"])
def test_the_fingerprint_sees_a_change(image_folder, change):
    settings = settings_of(image_folder)
    before = fingerprint(settings)
    (image_folder / "train" / "cat" / ".hidden").touch()
    assert fingerprint(settings) == before
    changes(image_folder)[change]()
    assert fingerprint(settings) != before


def test_the_facts_follow_the_pixels_and_not_the_files(image_folder):
    before = facts(prepare(settings_of(image_folder)))
    changes(image_folder)["renamed"]()
    (image_folder / "train" / "notes.txt").touch()
    moved = image_folder.rename(image_folder.with_name("moved"))
    # A renamed file stands elsewhere among those of its class.
    (moved / "train" / "cat" / "z.png").rename(moved / "train" / "cat" / "0000.png")
    assert facts(prepare(settings_of(moved))) == before
    changes(moved)["removed"]()
    assert facts(prepare(settings_of(moved))) != before
