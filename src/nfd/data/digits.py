"""scikit-learn's 1,797 real images of handwritten digits, 8x8 pixels; nothing is downloaded.

They have no split of their own, so 36 images of each class (360) are drawn as test set and 1,437 are
left to train on.
"""

import numpy as np

from nfd.data.prepared import balanced_order
from nfd.data.raw import SPLITS, RawData

TEST_SIZE = 360


def read() -> RawData:
    """Whole numbers from 0 to 16, (samples, 8, 8, 1)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    order = balanced_order(labels, "digits")
    # Whole rounds of balanced_order: every class gives 36 images to the test set.
    part = {"test": np.sort(order[:TEST_SIZE]), "train": np.sort(order[TEST_SIZE:])}
    return RawData(
        classes=tuple(map(str, digits.target_names)),
        values={split: pixels[part[split]] for split in SPLITS},
        labels={split: labels[part[split]] for split in SPLITS},
    )
