"""Tiny networks for small images: three families that fold, and every way of making them smaller."""

from typing import Any

from optuna import Trial

from searcher.recipe import (
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    QuantizeAware,
    Recipe,
    Stage,
    Train,
)

FAMILIES = ("gated", "inverted", "tiny_resnet")
TEACHER = Model(name="tiny_resnet", args={"widths": [32, 64, 128], "depths": [2, 2, 2], "projection": True})
"""Stronger than any network of the space; trained once, since its recipe is always the same."""

ENDS: dict[str, Any] = {
    "bits": {name: {"weights": 8, "activations": 8} for name in ("stem", "classifier")},
}
"""The first and the last layer keep 8 bits where the others have 4."""


def suggest(trial: Trial) -> Recipe:
    """One recipe. A choice that is off suggests none of its parameters."""
    family = trial.suggest_categorical("family", FAMILIES)
    model = Model(name=family, args=arguments(trial, family))
    teaching = _teaching(trial) if trial.suggest_categorical("distill", [False, True]) else {}
    taught = {"teaching": teaching} if teaching else {}
    training = _train(trial, teaching)
    stages: list[Stage] = [training]
    # Not all bear the same rate: what has trained a network finetunes it, at half the rate.
    tuned = {
        "share": 0.5,
        "optimizer": training.optimizer,
        "batch_size": training.batch_size,
        "lr": training.lr / 2,
        "weight_decay": training.weight_decay,
    } | taught
    if trial.suggest_categorical("prune_channels", [False, True]):
        ratio = trial.suggest_float("channels_ratio", 0.1, 0.5)
        stages.append(PruneChannels.model_validate({"ratio": ratio} | tuned))
    if trial.suggest_categorical("prune_weights", [False, True]):
        choices = {
            "sparsity": trial.suggest_float("sparsity", 0.2, 0.8),
            "steps": trial.suggest_categorical("sparsity_steps", [1, 3]),
        }
        stages.append(PruneWeights.model_validate(choices | tuned))
    codes = trial.suggest_categorical("codes", ["float", "int8", "int8 trained", "int4 trained"])
    if codes == "int8":
        stages.append(Quantize())
    elif codes != "float":
        narrow = {"weight_bits": 4, "activation_bits": 4} | ENDS if codes == "int4 trained" else {}
        batch = {"share": 0.25, "batch_size": training.batch_size}
        stages.append(QuantizeAware.model_validate(batch | narrow | taught))
    return Recipe(model=model, stages=tuple(stages))


def arguments(trial: Trial, family: str) -> dict[str, Any]:
    """Arguments of a network of that family."""
    return _MODELS[family](trial)


def _gated(trial: Trial) -> dict[str, Any]:
    width = trial.suggest_int("gated_width", 12, 36, step=4)
    growth = trial.suggest_categorical("gated_growth", [1.5, 1.75, 2.0])
    mixed = trial.suggest_categorical("gated_kernels", ["3", "5", "7", "1-3-7-7"])
    return {
        # Divisible by four, the shares of a mixture.
        "widths": [width, 4 * round(growth * width / 4)],
        "depths": [trial.suggest_int(f"gated_depth{stage}", 1, 4) for stage in (1, 2)],
        "stem_stride": trial.suggest_categorical("gated_stem_stride", [1, 2]),
        "kernels": [int(kernel) for kernel in mixed.split("-")],
        "activation": trial.suggest_categorical("gated_activation", ["hardswish", "relu"]),
        "norms": trial.suggest_categorical("gated_norms", ["all", "block", "none"]),
        "squeeze_excite": trial.suggest_categorical("gated_squeeze_excite", [False, True]),
    }


def _inverted(trial: Trial) -> dict[str, Any]:
    width = trial.suggest_int("inverted_width", 8, 20, step=4)
    growth = trial.suggest_categorical("inverted_growth", [1.5, 2.0])
    strides = trial.suggest_categorical("inverted_strides", ["1-2-2", "2-2-1", "1-2-1"])
    return {
        "stem": width,
        "stem_stride": trial.suggest_categorical("inverted_stem_stride", [1, 2]),
        "widths": [round(width * growth**stage) for stage in range(3)],
        "depths": [trial.suggest_int(f"inverted_depth{stage}", 1, 3) for stage in (1, 2, 3)],
        "strides": [int(stride) for stride in strides.split("-")],
        "expansion": trial.suggest_int("inverted_expansion", 2, 6),
        "kernel": trial.suggest_categorical("inverted_kernel", [3, 5]),
        "activation": trial.suggest_categorical("inverted_activation", ["relu", "relu6", "hardswish"]),
        "norms": trial.suggest_categorical("inverted_norms", ["all", "block", "none"]),
        "squeeze_excite": trial.suggest_categorical("inverted_squeeze_excite", [False, True]),
    }


def _tiny_resnet(trial: Trial) -> dict[str, Any]:
    width = trial.suggest_int("resnet_width", 4, 20, step=2)
    growth = trial.suggest_categorical("resnet_growth", [1.5, 2.0])
    return {
        "widths": [round(width * growth**stage) for stage in range(3)],
        "depths": [trial.suggest_int(f"resnet_depth{stage}", 1, 3) for stage in (1, 2, 3)],
        "stem_stride": trial.suggest_categorical("resnet_stem_stride", [1, 2]),
        "activation": trial.suggest_categorical("resnet_activation", ["relu", "relu6", "hardswish"]),
        "norms": trial.suggest_categorical("resnet_norms", ["all", "block", "none"]),
        "projection": trial.suggest_categorical("resnet_projection", [False, True]),
        "squeeze_excite": trial.suggest_categorical("resnet_squeeze_excite", [False, True]),
    }


_MODELS = {"gated": _gated, "inverted": _inverted, "tiny_resnet": _tiny_resnet}


def _teaching(trial: Trial) -> dict[str, Any]:
    return {
        "teacher": TEACHER,
        "temperature": trial.suggest_float("temperature", 1.0, 8.0),
        "weight": trial.suggest_float("distill_weight", 0.3, 0.95),
        "views": 8,
    }


def _train(trial: Trial, teaching: dict[str, Any]) -> Train | Distill:
    adam = trial.suggest_categorical("optimizer", ["sgd", "adamw"]) == "adamw"
    choices = {
        "optimizer": "adamw" if adam else "sgd",
        "lr": trial.suggest_float("adamw_lr", 1e-3, 2e-2, log=True)
        if adam
        else trial.suggest_float("sgd_lr", 0.02, 0.5, log=True),
        "weight_decay": trial.suggest_float("adamw_decay", 1e-3, 1e-1, log=True)
        if adam
        else trial.suggest_float("sgd_decay", 5e-5, 1e-3, log=True),
        # A GPU is as busy with 512 images as with 128.
        "batch_size": trial.suggest_categorical("batch_size", [128, 512]),
        "schedule": trial.suggest_categorical("schedule", ["cosine", "linear", "one-cycle"]),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.0, 0.1]),
        "ema": trial.suggest_categorical("ema", [0.0, 0.99, 0.999]),
        # What a teacher has seen of an image is no longer so once the image is mixed.
        **({} if teaching else {"mixup": trial.suggest_categorical("mixup", [0.0, 0.2])}),
    }
    stage = Distill if teaching else Train
    return stage.model_validate(choices | teaching)


_TRAINED: dict[str, Any] = {
    "batch_size": 128,
    "schedule": "cosine",
    "label_smoothing": 0.0,
    "ema": 0.0,
    "prune_channels": False,
    "prune_weights": False,
    "codes": "int8",
}
_SGD: dict[str, Any] = {"optimizer": "sgd", "sgd_lr": 0.1, "sgd_decay": 5e-4}
_ADAM: dict[str, Any] = {"optimizer": "adamw", "adamw_lr": 5e-3, "adamw_decay": 0.01}
"""Of gated blocks, whose products a rate of SGD that ResNets bear makes infinite."""

_LARGE: dict[str, Any] = {"optimizer": "adamw", "adamw_lr": 1e-2, "adamw_decay": 0.02, "batch_size": 512}
_ALONE: dict[str, Any] = {"distill": False, "mixup": 0.0}
_TAUGHT: dict[str, Any] = {"distill": True, "temperature": 4.0, "distill_weight": 0.8, "ema": 0.999}
_SMALL: dict[str, Any] = {
    "prune_weights": True,
    "sparsity": 0.5,
    "sparsity_steps": 3,
    "codes": "int8 trained",
}


def of(family: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a family's network, under the names that a trial has them by."""
    prefix = family.removeprefix("tiny_")
    return {"family": family} | {f"{prefix}_{key}": value for key, value in parameters.items()}


_GATED = {
    "width": 24,
    "growth": 1.75,
    "kernels": "1-3-7-7",
    "depth1": 3,
    "depth2": 3,
    "stem_stride": 2,
    "activation": "hardswish",
    "norms": "block",
    "squeeze_excite": False,
}
_RESNET = {
    "width": 8,
    "growth": 2.0,
    "depth1": 2,
    "depth2": 2,
    "depth3": 2,
    "stem_stride": 1,
    "activation": "relu",
    "norms": "all",
    "projection": False,
    "squeeze_excite": False,
}
_INVERTED = {
    "stem_stride": 2,
    "width": 12,
    "growth": 2.0,
    "strides": "1-2-2",
    "depth1": 2,
    "depth2": 3,
    "depth3": 2,
    "expansion": 4,
    "kernel": 3,
    "activation": "relu",
    "norms": "all",
    "squeeze_excite": False,
}
_SQUEEZED = _INVERTED | {
    "width": 16,
    "growth": 1.5,
    "depth3": 3,
    "activation": "hardswish",
    "squeeze_excite": True,
}

ENQUEUE: list[dict[str, Any]] = [
    of("inverted", _SQUEEZED) | _TRAINED | _LARGE | _TAUGHT | {"ema": 0.0},
    of("tiny_resnet", _RESNET) | _TRAINED | _ALONE | _SGD,
    of("gated", _GATED) | _TRAINED | _ALONE | _ADAM,
    of("inverted", _INVERTED) | _TRAINED | _ALONE | _SGD,
    of("tiny_resnet", _RESNET | {"width": 16, "stem_stride": 2, "projection": True})
    | _TRAINED
    | _ALONE
    | _SGD,
    of("gated", _GATED | {"width": 28, "growth": 2.0}) | _TRAINED | _ADAM | _TAUGHT | _SMALL,
]
"""The best of `results/cifar10`; a network of each family in int8; a wider ResNet behind an early stride; and
one with all that helps."""
