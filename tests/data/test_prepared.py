"""The prepared file: its order, its scaling, and that it gives back what was put in."""

import pickle

import numpy as np
import pytest
from data_checks import rows, sentence
from sklearn.datasets import load_digits

from nfd.data.prepared import balanced_order, load, save, scaling
from nfd.data.raw import DataError
from nfd.data.sources import prepare

# ---- digits ----


def test_digits_are_scikit_learns_images_each_once(digits):
    original = load_digits()
    assert rows(digits.train_values) + rows(digits.test_values) == rows(
        original.images.astype(np.uint8)
    )
    with_label = {
        image.astype(np.uint8).tobytes(): label
        for image, label in zip(original.images, original.target, strict=True)
    }
    for pixels, labels in (
        (digits.train_values, digits.train_labels),
        (digits.test_values, digits.test_labels),
    ):
        assert [with_label[image.tobytes()] for image in pixels] == labels.tolist()


def test_digits_split_is_stratified_and_documented(digits):
    assert len(digits.train_labels) == 1437
    assert np.bincount(digits.test_labels).tolist() == [36] * 10
    assert digits.sample_shape == (8, 8, 1)
    assert digits.input_dim == 64
    assert digits.classes == tuple("0123456789")


def test_digits_are_the_same_in_every_process(digits):
    # Pinned: a change here changes every result on this set.
    assert digits.digest[:12] == "fceadf2a0f77"
    assert digits.test_labels[:12].tolist() == [5, 4, 9, 2, 3, 8, 1, 7, 6, 0, 9, 5]
    assert int(digits.test_values[:100].astype(np.int64).sum()) == 31926


# ---- scaling ----


def test_scaling_is_the_documented_one(image_folder):
    data = prepare({"name": "image_folder", "root": str(image_folder)})
    pixels = data.train_values.astype(np.float64)
    centred = pixels - pixels.mean(axis=(0, 1, 2))
    scale = 1 / np.sqrt(np.mean(centred**2))
    # float32 keeps 24 bits: inputs are of order 1, pixels up to 255, so 1e-4 leaves a wide margin
    # and still sees a missing mean or a per-channel scale.
    expected = (centred * scale).reshape(len(pixels), -1)
    assert data.train_inputs.dtype == np.float32
    np.testing.assert_allclose(data.train_inputs, expected, atol=1e-4)
    test = (data.test_values - pixels.mean(axis=(0, 1, 2))) * scale
    np.testing.assert_allclose(data.test_inputs, test.reshape(len(test), -1), atol=1e-4)


def test_training_inputs_have_unit_mean_square_and_centred_channels(digits, image_folder):
    for data in (digits, prepare({"name": "image_folder", "root": str(image_folder)})):
        inputs = data.train_inputs.astype(np.float64)
        assert np.mean(np.sum(inputs**2, axis=1) / data.input_dim) == pytest.approx(1, abs=1e-6)
        channels = inputs.reshape(len(inputs), *data.sample_shape).mean(axis=(0, 1, 2))
        np.testing.assert_allclose(channels, 0, atol=1e-6)
        # Negative control: the test set is scaled with the training set's numbers, not its own.
        test = data.test_inputs.astype(np.float64)
        assert abs(np.mean(test**2) - 1) > 1e-4


def test_sums_over_a_large_set_do_not_overflow():
    # 20 million pixels, a tenth of them 0 and the rest 255: the sum exceeds 32 bits.
    pixels = np.full((78_120, 16, 16, 1), 255, dtype=np.uint8)
    pixels[::10] = 0
    mean, scale = scaling(pixels)
    assert mean == pytest.approx([0.9 * 255], rel=1e-12)
    assert scale == pytest.approx(1 / (0.3 * 255), rel=1e-12)


# ---- order and subsets ----


def test_subsets_are_nested_and_balanced(digits):
    small, large = digits.subset(95, 40), digits.subset(500, 200)
    np.testing.assert_array_equal(small.train_values, large.train_values[:95])
    np.testing.assert_array_equal(small.test_labels, large.test_labels[:40])
    np.testing.assert_array_equal(small.train_inputs, digits.train_inputs[:95])  # same scaling
    for n in (10, 95, 500, 1280):
        counts = np.bincount(digits.train_labels[:n], minlength=10)
        assert counts.max() - counts.min() <= 1
    assert len(digits.subset().train_labels) == 1437
    with pytest.raises(DataError, match="1437 train samples"):
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
    part = prepare({"name": "digits", "train_size": 100, "test_size": 50})
    np.testing.assert_array_equal(part.train_values, digits.train_values[:100])
    np.testing.assert_array_equal(part.test_labels, digits.test_labels[:50])
    assert part.digest == digits.digest  # of the whole source
    assert np.mean(part.train_inputs.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-6)
    with pytest.raises(DataError, match=r"dataset\.test_size: 361 .* 360 test samples of digits"):
        prepare({"name": "digits", "test_size": 361})


# ---- the file ----


def test_a_saved_file_gives_back_the_same_and_the_same_bytes(digits, tmp_path):
    save(digits, tmp_path / "a.npz")
    save(prepare({"name": "digits"}), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.train_inputs, digits.train_inputs)
    np.testing.assert_array_equal(back.test_inputs, digits.test_inputs)
    np.testing.assert_array_equal(back.train_labels, digits.train_labels)
    assert back.train_labels.dtype == np.int64
    for field in ("name", "classes", "digest", "skipped", "scale"):
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
    pixel = whole.index(prepare({"name": "digits", "train_size": 20}).train_values.tobytes()) + 99
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
