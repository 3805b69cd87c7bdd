"""Arrays as a data set: what is put in comes out scaled, and what does not fit is named."""

import pickle

import numpy as np
import pytest
from data_checks import rows, sentence

from nfd.data.arrays import NAMES
from nfd.data.prepared import load, save
from nfd.data.raw import DataError
from nfd.data.sources import check_settings, fingerprint, label_of, prepare


def four(seed: int = 0, shape: tuple[int, ...] = (5,), dtype: type = np.float64) -> dict:
    """30 training and 12 test samples of the classes -1, 3 and 7."""
    rng = np.random.default_rng(seed)
    made = {}
    for split, count in (("train", 30), ("test", 12)):
        made[f"{split}_inputs"] = (rng.normal(100, 20, (count, *shape))).astype(dtype)
        made[f"{split}_labels"] = np.resize([-1, 3, 7], count)
    return made


def settings_for(root) -> dict:
    return {"name": "arrays", "root": str(root)}


def stored(tmp_path, **arrays) -> dict:
    np.savez(tmp_path / "mine.npz", **arrays)
    return settings_for(tmp_path / "mine.npz")


def test_inputs_are_centred_per_feature_and_scaled_together(tmp_path):
    made = four()
    made["train_inputs"][:, 0] *= 100  # one feature is far larger, and stays so
    data = prepare(stored(tmp_path, **made))
    assert data.classes == ("-1", "3", "7")
    assert label_of(settings_for(tmp_path / "mine.npz")) == "mine"
    assert data.input_dim == 5
    centred = made["train_inputs"] - made["train_inputs"].mean(axis=0)
    expected = centred / np.sqrt(np.mean(centred**2))
    found = {
        tuple(np.round(x, 3)): data.classes[y]
        for x, y in zip(data.train_inputs, data.train_labels, strict=True)
    }
    for x, label in zip(expected.astype(np.float32), made["train_labels"], strict=True):
        near = min(found, key=lambda key: np.abs(np.array(key) - x).max())
        assert np.abs(np.array(near) - x).max() < 2e-3
        assert found[near] == str(label)
    assert np.mean(data.train_inputs.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-5)
    # Negative control: scaled one by one, all features would be equally large.
    assert data.train_inputs[:, 0].std() > 10 * data.train_inputs[:, 1].std()


@pytest.mark.parametrize(
    ("shape", "dtype", "kept"),
    [
        ((5,), np.float32, (5,)),
        ((5,), np.int16, (5,)),
        ((5,), bool, (5,)),
        ((4, 6), np.float64, (4, 6, 1)),
        ((4, 6, 3), np.uint8, (4, 6, 3)),
    ],
)
def test_shapes_and_kinds_of_numbers(tmp_path, shape, dtype, kept):
    made = four(shape=shape, dtype=dtype)
    if dtype is bool:
        made["train_inputs"][::2] = False
    data = prepare(stored(tmp_path, **made))
    assert data.sample_shape == kept
    assert data.train_values.dtype == (np.uint8 if dtype is np.uint8 else np.float32)
    expected = made["train_inputs"].reshape(30, *kept).astype(data.train_values.dtype)
    assert rows(data.train_values) == rows(expected)
    save(data, tmp_path / "prepared.npz")
    back = load(tmp_path / "prepared.npz")
    np.testing.assert_array_equal(back.test_inputs, data.test_inputs)


def test_a_folder_of_npy_files_is_the_same(tmp_path):
    made = four()
    for name, array in made.items():
        np.save(tmp_path / f"{name}.npy", array)
    folder = prepare(settings_for(tmp_path))
    assert folder.digest == prepare(stored(tmp_path, **made)).digest
    assert folder.digest != prepare(stored(tmp_path, **four(seed=1))).digest


def test_images_as_arrays_are_scaled_like_the_same_images(digits, tmp_path):
    """Bytes of the digits, given as arrays: the same inputs, only in another order."""
    made = {
        "train_inputs": digits.train_values[..., 0],
        "train_labels": digits.train_labels,
        "test_inputs": digits.test_values[..., 0],
        "test_labels": digits.test_labels,
    }
    data = prepare(stored(tmp_path, **made))
    assert rows(data.train_inputs) == rows(digits.train_inputs)


def test_the_fingerprint_changes_with_the_file(tmp_path):
    settings = stored(tmp_path, **four())
    before = fingerprint(settings)
    assert fingerprint(settings) == before
    stored(tmp_path, **four(seed=1))
    assert fingerprint(settings) != before


def changed(**changes):
    return lambda: {**four(), **changes}


def with_value(value):
    made = four()
    made["test_inputs"][7, 2] = value
    return made


WRONG = {
    "no integers": (
        changed(train_labels=np.zeros(30)),
        r"train_labels of .*mine\.npz is float64 of the shape \(30,\); one integer per sample",
    ),
    "one-hot labels": (changed(train_labels=np.eye(30, dtype=int)), r"of the shape \(30, 30\)"),
    "too few labels": (
        changed(test_labels=np.array([3, 7])),
        "has 12 test_inputs but 2 test_labels; each sample needs one label",
    ),
    "other features": (
        changed(test_inputs=np.ones((12, 4))),
        r"one of train_inputs has the shape \(5,\) but one of test_inputs \(4,\)",
    ),
    "other classes": (
        changed(test_labels=np.resize([-1, 3], 12)),
        "label 7 is among train_labels but not among test_labels",
    ),
    "one class": (
        changed(train_labels=np.ones(30, int), test_labels=np.ones(12, int)),
        "arrays has one class only, '1'",
    ),
    "NaN": (
        lambda: with_value(np.nan),
        r"test_inputs of .* has a value in row 7 that is not finite",
    ),
    "infinite": (lambda: with_value(np.inf), "row 7 that is not finite"),
    "too large for 32 bits": (lambda: with_value(1e300), "too large for 32 bits"),
    "complex numbers": (
        changed(train_inputs=np.ones((30, 5), complex)),
        "complex128; real numbers",
    ),
    "text": (changed(train_inputs=np.full((30, 5), "a")), "real numbers are needed"),
    "no features": (
        changed(train_inputs=np.ones((30, 0))),
        r"has the shape \(30, 0\); accepted are",
    ),
    "a list of numbers": (
        changed(train_inputs=np.ones(30)),
        r"has the shape \(30,\); accepted are",
    ),
    "nothing varies": (changed(train_inputs=np.full((30, 5), 0.1)), "are one and the same"),
    "objects": (
        changed(train_inputs=np.array([[None] * 5] * 30, dtype=object)),
        "holds Python objects, which are not read",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(tmp_path, case):
    make, message = WRONG[case]
    with pytest.raises(DataError, match=message) as error:
        prepare(stored(tmp_path, **make()))
    assert len(sentence(error)) < 400


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_array_is_named_before_anything_is_read(tmp_path, missing):
    made = four()
    del made[missing]
    with pytest.raises(DataError, match=f"has no array {missing}; needed are train_inputs"):
        check_settings(stored(tmp_path, **made))


def test_what_is_no_file_of_arrays_is_named(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.root: missing; name the \.npz file that holds"):
        check_settings({"name": "arrays"})
    with pytest.raises(DataError, match="there is no file or folder"):
        check_settings(settings_for(tmp_path / "nowhere.npz"))
    (tmp_path / "x.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"x\.npz is not a whole \.npz file"):
        check_settings(settings_for(tmp_path / "x.npz"))
    whole = stored(tmp_path, **four())
    content = (tmp_path / "mine.npz").read_bytes()
    middle = len(content) // 3
    (tmp_path / "mine.npz").write_bytes(content[:middle] + b"????" + content[middle + 4 :])
    with pytest.raises(DataError, match=r"cannot read the arrays of .*mine\.npz") as error:
        prepare(whole)
    sentence(error)
