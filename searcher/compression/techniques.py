"""The techniques of a training that a task cannot take."""

from searcher.config.recipe import Training
from searcher.errors import TrialError
from searcher.tasks.base import Task

OF_CLASSES = {
    "label_smoothing": "spreads the classes of images",
    "mixup": "mixes the classes of images",
    "cutmix": "mixes the classes of images",
    "cutout": "may take what an image is labelled with",
    "rotation": "turns images without what they are labelled with",
}
"""Options of a training that are for labels that are classes, and what they do."""


def check_techniques(training: Training, stage: str, task: Task) -> None:
    """Refuse what a task cannot take.

    Raises:
        TrialError: Names every option that is asked for all the same.
    """
    asked = [] if task.mixes else [name for name in OF_CLASSES if getattr(training, name)]
    if asked:
        reasons = ", ".join(f"{name} {OF_CLASSES[name]}" for name in asked)
        raise TrialError(f"{stage}: {reasons}, and the labels of task {task.name} are no classes of images")
