"""Makes `docs/lists.md` from the code: every model, metric, task, stage, rule and key of a study.

python -m docs.lists
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from searcher import tasks
from searcher.config.recipe import CRITERIA, STAGES
from searcher.config.study import StudyKeys
from searcher.costs.scores import VARIANTS
from searcher.execution.metrics import ranges
from searcher.searching.samplers import SAMPLERS
from searcher.ui.commands.content import LISTS

PAGE = Path(__file__).parent / "lists.md"

HEAD = """# Lists

What comes with searcher, by the names under which a study, a recipe or a space asks for it. This page is
made from the code by `python -m docs.lists`. `searcher ls models`, `metrics`, `tasks`, `stages`, `spaces` and
`studies` list the same with what is of your own; `docs/extending.md` says how to add to it.
"""

MODELS_SAID = "A model is also a function of yours, or one of timm's or torchvision's: `docs/models.md`.\n"
TASKS_SAID = "A task is also a path to your data, or a function: `docs/data.md`.\n"
METRICS_SAID = "Every one may be an objective, a constraint or a column of a study.\n"
SAMPLERS_SAID = "`sampler.options` are Optuna's own.\n"
VARIANTS_SAID = "`micronet_score` by the rules of a variant. `docs/costs.md` has them in full.\n"
STAGES_SAID = (
    "Weights are pruned after all other training, int8 comes last; a recipe keeps any other order.\n"
)
CRITERIA_SAID = "`prune_channels` removes the channels that have least of it.\n"
KEYS_SAID = (
    "Keys of a study's file; `--set KEY=VALUE` changes any but `extends` and `when`. `[]` is an entry of an "
    "array.\n"
)

OF_A_CHANNEL = {
    "l1": "the L1 norm of its weights",
    "l2": "the L2 norm of its weights",
    "fpgm": "the distance of its weights from those of the others (He et al. 2019)",
    "random": "a random number, to compare the others with",
    "activation": "the mean magnitude of its activations on training images",
    "bn_scale": "the magnitude of its batch norm's scale (Liu et al. 2017); of `torch-pruning` alone",
    "taylor": "the first-order change of the loss without it, on training images (Molchanov et al. 2019)",
}
"""Every criterion's meaning."""

TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
BOUNDS = {"minimum": "≥ ", "ge": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}
"""The keywords of JSON Schema that bound a number; `ge` is pydantic's, behind a validator."""

PARAMETER = ("type", "default", "")


def main() -> None:
    """Write the page."""
    PAGE.write_text(made(), encoding="utf-8")


def made() -> str:
    """The page."""
    parts = [
        HEAD,
        *_section("Models", MODELS_SAID, ("model", ""), LISTS["models"]().items()),
        *_section("Metrics", METRICS_SAID, ("metric", "", "values"), _metrics()),
        *_section("Tasks", TASKS_SAID, ("task", "kind", "images", "classes", "data"), _tasks()),
        *_section("Stages", STAGES_SAID, ("stage", ""), LISTS["stages"]().items()),
        *(part for kind, stage in STAGES.items() for part in _stage(kind, stage)),
        *_section("Criteria", CRITERIA_SAID, ("criterion", "of a channel"), _criteria()),
        *_section("Score variants", VARIANTS_SAID, ("variant", "relative to", ""), _variants()),
        *_section("Samplers", SAMPLERS_SAID, ("sampler", "of Optuna"), _samplers()),
        *_section("Study keys", KEYS_SAID, ("key", *PARAMETER), parameters(StudyKeys)),
    ]
    return "\n".join(parts)


def parameters(model: type[BaseModel], tables: bool = True) -> list[tuple[str, ...]]:
    """Every key that a table may have: its dotted path, type, default and meaning.

    Args:
        model: What the table is validated by.
        tables: Whether the keys of tables inside of it are listed as well.
    """
    schema = model.model_json_schema()
    defs = schema.get("$defs", {})
    # A table that may hold others of its own kind is among the definitions itself.
    return list(_keys(defs[_name(schema)] if "$ref" in schema else schema, defs, "", tables))


def _keys(
    table: dict[str, Any], defs: dict[str, Any], prefix: str, inside: bool
) -> Iterator[tuple[str, ...]]:
    for key, field in table["properties"].items():
        if "const" in field:
            continue
        path = prefix + key
        default = "required" if key in table.get("required", ()) else _default(field)
        yield path, _type(field), default, field.get("description", "")
        for held, suffix in _held(field) if inside else ():
            yield from _keys(defs[held], defs, f"{path}{suffix}.", inside)


def _held(field: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of the tables that a field holds, and what its path has behind it for them."""
    for one in field.get("anyOf", [field]):
        if "$ref" in one:
            yield _name(one), ""
        elif "$ref" in one.get("items", {}):
            yield _name(one["items"]), "[]"


def _name(field: dict[str, Any]) -> str:
    return str(field["$ref"]).rpartition("/")[2]


def _type(field: dict[str, Any]) -> str:
    """A field's type and range in words."""
    if "anyOf" in field:
        return ", or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{_toml(value)}`" for value in field["enum"])
    if "$ref" in field or "oneOf" in field or field["type"] == "object":
        return "table"
    if field["type"] == "array":
        return _array(field)
    bounds = [f"{sign}{_figure(field[key])}" for key, sign in BOUNDS.items() if key in field]
    return f"{TYPES[field['type']]} {', '.join(bounds)}".strip()


def _array(field: dict[str, Any]) -> str:
    if "prefixItems" in field:
        return f"array of {len(field['prefixItems'])}"
    least = f", {field['minItems']} at least" if "minItems" in field else ""
    return f"array: {_type(field['items'])}{least}"


def _default(field: dict[str, Any]) -> str:
    """A field's default; empty where there is none, or where it is that of the keys of a table."""
    value = field.get("default")
    return "" if value in (None, []) or isinstance(value, dict) else f"`{_toml(value)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _figure(value: float) -> str:
    if value == math.inf:
        return "∞"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _metrics() -> Iterator[tuple[str, ...]]:
    known = ranges()
    for name, said in LISTS["metrics"]().items():
        between = " to ".join(map(_figure, known[name])) if name in known else ""
        yield name, said, between


def _tasks() -> Iterator[tuple[str, ...]]:
    for name, entry in tasks.TASKS.items():
        sizes = "×".join(map(str, entry.image))
        yield name, entry.kind.__name__, sizes, str(entry.usual), entry.how or "comes with the installation"


def _stage(kind: str, stage: type[BaseModel]) -> list[str]:
    return [f"### `{kind}`\n", _table(("parameter", *PARAMETER), parameters(stage, tables=False))]


def _criteria() -> Iterator[tuple[str, ...]]:
    return ((name, OF_A_CHANNEL[name]) for name in CRITERIA)


def _variants() -> Iterator[tuple[str, ...]]:
    return ((name, one.reference.network, one.summary) for name, one in VARIANTS.items())


def _samplers() -> Iterator[tuple[str, ...]]:
    return ((name, f"`{sampler.__name__}`") for name, (sampler, _) in SAMPLERS.items())


def _section(title: str, said: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"## {title}\n", said, _table(head, rows)]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head)]
    lines += [(f"`{name}`", *(cell.replace("|", "\\|") for cell in cells)) for name, *cells in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
