"""A study: what to search. A TOML file, with `extends` and `--set`, checked by pydantic."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from searcher.config import catalog
from searcher.config.cluster import Cluster
from searcher.config.data import Data, short
from searcher.config.deployment import Deployment
from searcher.config.metric import Constraint, Metric, Objective
from searcher.config.recipe import Model
from searcher.config.toml import keys, parsed, problems, read_toml, refuse, validated
from searcher.errors import SearcherError, nearest

LAST_SEED = 2**32 - 1
"""NumPy takes no greater one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Budget(_Frozen):
    """How much a search may spend."""

    trials: int = Field(ge=1, description="trials that are complete or failed")
    epochs: int = Field(ge=1, description="epochs of a training at share 1")
    train_images: int | None = Field(
        default=None,
        ge=1,
        description="images of the training split that a trial trains on; a retraining takes all",
    )


def _renamed(how: object) -> object:
    # Every training on a GPU is replayed as a CUDA graph by now.
    return "default" if how == "cuda-graphs" else how


Compile = Annotated[Literal["off", "default"], BeforeValidator(_renamed)]
"""Whether a training goes through `torch.compile`."""


class EarlyStopping(_Frozen):
    """Stops trials that lag behind: asynchronous successive halving for several objectives.

    The rungs are at `min_epochs`, `min_epochs` · `reduction_factor`, ... epochs of a trial.
    """

    enabled: bool = Field(default=True, description="whether trials that lag behind are stopped")
    reduction_factor: int = Field(
        default=3,
        ge=2,
        description="of so many trials at a rung the best goes on, to so many times the epochs",
    )
    min_epochs: int | None = Field(
        default=None, ge=1, description="epochs at the first rung; by default a third of `budget.epochs`"
    )

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which a trial is held against the others; no recipe trains for 100 budgets."""
        if not self.enabled:
            return ()
        levels = [self.min_epochs or max(1, epochs // 3)]
        while levels[-1] < 100 * epochs:
            levels.append(levels[-1] * self.reduction_factor)
        return tuple(levels)


class Sampler(_Frozen):
    """The sampler that suggests recipes: one of Optuna's, with its own options."""

    name: Literal["tpe", "nsga2", "gp", "random"] = Field(
        default="tpe", description="[the sampler](#samplers)"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Optuna's own options of it")
    prefix_reuse: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of trials that keep the first stages of a trial on the front, which are trained "
        "already, and draw the rest; from the tenth complete trial on",
    )
    variants: bool = Field(
        default=True,
        description="whether trained networks are tried as cheaply quantized as the space can, where that "
        "would extend the front",
    )


def _by_name(model: object) -> object:
    return {"name": model} if isinstance(model, str) else model


class WarmStart(_Frozen):
    """Begin with the front of another stored study, or with what bears int8 worst kept out of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, serialize_by_alias=True)

    study: str | None = Field(
        default=None, alias="from", description="name of a stored study whose front is tried first"
    )
    sensitivity: bool = Field(
        default=False,
        description="whether the model as it came is tried in int8 with its worst blocks kept out, as many "
        "as matter",
    )

    @model_validator(mode="after")
    def _something(self) -> "WarmStart":
        if self.study is None and not self.sensitivity:
            raise ValueError("expected from = STUDY, or sensitivity = true")
        return self


class _Common(_Frozen):
    space: str = Field(description="name of a file in `spaces/`")
    model: Annotated[Model | None, BeforeValidator(_by_name)] = Field(
        default=None, description="the model that the space is made from, a table or its name alone"
    )
    seed: int = Field(default=0, ge=0, le=LAST_SEED, description="of all that is drawn at random")
    objectives: tuple[Objective, ...] = Field(min_length=1, description="metrics with a goal")
    constraints: tuple[Constraint, ...] = Field(default=(), description="metrics with a bound")
    metrics: tuple[Metric, ...] = Field(default=(), description="metrics that are only measured")
    budget: Budget = Field(description="how much a search may spend")
    deployment: Deployment = Field(
        default=Deployment(), description="conditions under which latency and memory are measured"
    )
    reference: Model | None = Field(default=None, description="a model beside which costs are shown")
    sampler: Sampler = Field(default=Sampler(), description="what suggests recipes")
    early_stopping: EarlyStopping = Field(default=EarlyStopping(), description="asynchronous halving")
    warm_start: WarmStart | None = Field(default=None, description="what is tried first")
    screening: bool = Field(
        default=True,
        description="whether a recipe whose predicted cost violates a constraint, or that was tried, is told "
        "at once",
    )
    store: bool = Field(default=True, description="whether what was trained is kept and used again")
    compile: Compile = Field(default="off", description="whether a training goes through `torch.compile`")
    cluster: Cluster = Field(default=Cluster(), description="resources of a trial's job")
    data: Data | None = Field(default=None, description="preparation of a user's own data")


class StudyKeys(_Common):
    """Every key that a study's file may have."""

    extends: str | None = Field(default=None, description="the study that this one changes, or its file")
    task: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="name, path or function of a task; of several the first whose data is here"
    )
    when: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="keys that hold on one of the tasks: `[when.TASK.budget]`"
    )


class Study(_Common):
    """A study with its task chosen. `name` is the file's, `stored_name` carries the task as well."""

    name: str
    task: str

    @property
    def stored_name(self) -> str:
        """The name in the storage and of the folder under `runs/`."""
        return f"{self.name}@{short(self.task)}"

    def violated(self, metrics: Mapping[str, float]) -> list[Constraint]:
        """The constraints that these metrics do not satisfy; one on another metric is not among them."""
        return [c for c in self.constraints if c.key in metrics and c.violation(metrics[c.key]) > 0]

    def learn(self, came_with: Mapping[str, float]) -> None:
        """Have the constraints that are relative to the model as it came know its figures, in place."""
        for constraint in self.constraints:
            constraint.learn(came_with)

    def measured(self) -> list[Metric]:
        """Every metric that a trial measures, each once."""
        every = [*self.objectives, *self.constraints, *self.metrics]
        return list({m.key: m for m in every}.values())


def parse(name: str, text: str) -> Study:
    """The study that a text in TOML is, of one task and by itself.

    Raises:
        SearcherError: It is none: all the errors at once.
    """
    return validated(Study, tomllib.loads(text) | {"name": name}, name, "the study")


class StudyFile:
    """A study file, read and merged, before its task is chosen."""

    def __init__(self, name: str, overrides: Sequence[str] = ()) -> None:
        """Read a study by name, or by path where the name ends in ``.toml``.

        Args:
            name: A study of the catalog, or a file.
            overrides: ``a.b=value`` each; the value is TOML, or a bare string.

        Raises:
            SearcherError: No such study, or its content is wrong: all the errors at once.
        """
        self.path = _locate(name)
        self.name = self.path.stem
        raw = _read(self.path)
        refuse(str(self.path), _problems(raw) + _strays(raw))
        self._raw, self._overrides = raw, [_override(text) for text in overrides]
        refuse(" ".join(f"--set {text}" for text in overrides), _problems(self._overridden(raw)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order in which they are tried."""
        task = self._overridden(self._raw)["task"]
        return (task,) if isinstance(task, str) else tuple(task)

    def study(self, task: str) -> Study:
        """The study on one of its tasks, with that task's `[when.TASK]` tables merged in."""
        raw = self._overridden(_merge(self._raw, self._raw.get("when", {}).get(task, {})))
        own = {k: v for k, v in raw.items() if k != "when"} | {"name": self.name, "task": task}
        return Study.model_validate_json(json.dumps(own))

    def _overridden(self, raw: dict[str, Any]) -> dict[str, Any]:
        for path, value in self._overrides:
            raw = _merge(raw, _nest(path, value))
        return raw


def _locate(name: str) -> Path:
    if not name.endswith(".toml"):
        return catalog.find("studies", name)
    if not Path(name).is_file():
        raise SearcherError(f"no study file {name}")
    return Path(name)


def _read(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in seen:
        raise SearcherError(f"{path}: extends itself")
    raw = read_toml(path)
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise SearcherError(f"{path}: extends: expected a study's name, got {parent!r}")
    base = path.parent / parent if parent.endswith(".toml") else catalog.find("studies", parent)
    if not base.is_file():
        raise SearcherError(f"{path}: extends: no study file {parent}")
    return _merge(_read(base, (*seen, path.resolve())), raw)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _nest(path: Sequence[str], value: object) -> dict[str, Any]:
    return {path[0]: _nest(path[1:], value) if len(path) > 1 else value}


def _problems(raw: dict[str, Any]) -> list[str]:
    found: dict[str, None] = {}
    variants = {"": raw} | {f"when.{t}.": _merge(raw, over) for t, over in _tables(raw.get("when")).items()}
    for prefix, variant in variants.items():
        said = problems(StudyKeys, variant, "the study")
        found |= {prefix + line: None for line in said if line not in found}
    return list(found)


def _strays(raw: dict[str, Any]) -> list[str]:
    """`[when.TASK]` tables for what is not a task of the study."""
    tasks = raw["task"] if isinstance(raw.get("task"), list) else [str(raw.get("task"))]
    return [
        f"when.{name}: not a task of this study{nearest(name, tasks)}"
        for name in _tables(raw.get("when"))
        if name not in tasks
    ]


def _tables(value: object) -> dict[str, dict[str, Any]]:
    items = value.items() if isinstance(value, dict) else ()
    return {name: table for name, table in items if isinstance(table, dict)}


def _override(text: str) -> tuple[list[str], Any]:
    key, sign, value = text.partition("=")
    path = key.strip().split(".")
    if path[0] in ("extends", "when"):
        raise SearcherError(f"--set {text}: {path[0]} can be given in a study file alone")
    if not sign:
        raise SearcherError(f"--set {text}: expected KEY=VALUE, e.g. budget.trials=20")
    for depth, part in enumerate(path):
        known = keys(StudyKeys, path[:depth])
        if (known and part not in known) or (not known and depth):
            raise SearcherError(f"--set {text}: no such key{nearest(part, known)}")
    return path, parsed(value, f"--set {key.strip()}")
