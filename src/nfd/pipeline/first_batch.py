"""The samples that the first training step learns, for closed forms of that step; loads no torch."""

import numpy as np

from nfd.data.prepared import PreparedData
from nfd.pipeline.settings import JobSettings
from nfd.training.batches import as_values, draw_batches


def first_batch(
    settings: JobSettings, data: PreparedData
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Inputs (B, d) and targets (B, C) of the first batch, and probe inputs (P, d).

    None if each seed has batches of its own, or none is trained: then there is no such batch.
    """
    if settings.data_order != "shared" or not settings.steps:
        return None
    train_size = settings.train_size or len(data.train_labels)
    drawn = draw_batches(train_size, settings.batch_size, 1, settings.root_seed, "shared")[0]
    targets = as_values(data.train_labels[drawn], len(data.classes))
    return data.train_inputs[drawn], targets, data.test_inputs[: settings.probe_size]
