"""scikit-learn's digits (1,797 real handwritten 8×8 images), the data set that every machine has."""

import os

import numpy as np

from searcher.tasks.classification.task import Classification, carve

# joblib, which scikit-learn imports, would make semaphores that a killed trial leaves behind.
os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")


def digits() -> Classification:
    """1,077 training, 360 validation and 360 test images of 10 classes, (1, 8, 8), values 0 to 16."""
    # A second and a half that no other task needs.
    from sklearn.datasets import load_digits

    data = load_digits()
    images = data.images.astype(np.uint8)[:, None]
    train, validation, test = carve(images, data.target, (1077, 360, 360), seed=0)
    return Classification(
        name="digits",
        classes=10,
        train=train,
        validation=validation,
        test=test,
        mean=(0.305,),
        std=(0.376,),
        scale=16.0,
        shift=1,
        flip=False,
    )
