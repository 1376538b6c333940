"""TOML files: read, and what is wrong with their content, a line a problem, with the nearest valid key."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from searcher.errors import SearcherError, nearest

T = TypeVar("T", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; a byte order mark is no part of it.

    Raises:
        SearcherError: It cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SearcherError(f"{path}: not TOML: {_reason(error)}") from error
    except OSError as error:
        raise SearcherError(f"{path}: {error.strerror}") from error


def _reason(error: ValueError | RecursionError) -> str:
    """The reason why a file is not TOML; of too long a number Python names its own limits alone."""
    if isinstance(error, tomllib.TOMLDecodeError | UnicodeDecodeError):
        return str(error)
    return "it is nested too deeply" if isinstance(error, RecursionError) else f"a number: {error}"


def parsed(value: str, source: str) -> Any:
    """A value on the command line: TOML, or a text that needs no quotes.

    Raises:
        SearcherError: A number of thousands of digits, or as many brackets; names the source.
    """
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value
    except (ValueError, RecursionError) as error:
        raise SearcherError(f"{source}: {str(error).partition(';')[0]}") from error


def pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """The values of a repeated option, ``KEY=VALUE`` each, by their keys.

    Raises:
        SearcherError: One is of another form.
    """
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise SearcherError(f"{option} {text}: expected KEY=VALUE")
        found[key.strip()] = parsed(value, f"{option} {key.strip()}")
    return found


def problems(model: type[BaseModel], content: object, whole: str) -> list[str]:
    """Validate content in pydantic's JSON mode, in which a TOML array may be a tuple.

    Args:
        model: What the content should be.
        content: As `tomllib` returns it.
        whole: What the content as a whole is called, e.g. ``the study``.

    Returns:
        A line for each of the problems; none where the content is valid.
    """
    try:
        model.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        return [_explain(model, details, whole) for details in error.errors()]
    return []


def raised(error: ValidationError) -> str:
    """The error of a model that code was making, in one line that begins with the model's name."""
    made = next((model for model in _subclasses(BaseModel) if model.__name__ == error.title), BaseModel)
    return f"{error.title}: {'; '.join(_explain(made, details, '') for details in error.errors())}"


def refuse(source: str, lines: Sequence[str]) -> None:
    """Raise all problems of a source at once, if there are any.

    Raises:
        SearcherError: There is at least one line.
    """
    if lines:
        raise SearcherError("\n".join([f"{source}:", *(f"  {line}" for line in lines)]))


def validated(model: type[T], content: object, source: str, whole: str) -> T:
    """The model that content makes.

    Raises:
        SearcherError: It is not valid: all problems at once.
    """
    refuse(source, problems(model, content, whole))
    return model.model_validate_json(json.dumps(content, default=str))


def keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """The keys that a table at a path may have; [] where they are free or where there is no table."""
    tables, inside = [model], False
    for part in path:
        named = [(f.alias or key, f) for t in tables for key, f in t.model_fields.items()]
        fields = [field.annotation for key, field in named if key == part]
        if tagged := [t for t in tables if part in _tags(t)]:
            tables = tagged
        elif fields or not inside:
            tables = [t for annotation in fields for t in _tables(annotation)]
            # A place in an array, or a key of a dict, leads to what these hold.
            inside = tables != fields
    return sorted({field.alias or key for table in tables for key, field in table.model_fields.items()})


def _explain(model: type[BaseModel], error: ErrorDetails, whole: str) -> str:
    """One line for one of pydantic's errors: path, what was given, what was expected."""
    location = [part for part in error["loc"] if part not in ("str", "tuple[str, ...]")]
    tags = {tag for table in _reachable(model, set()) for tag in _tags(table)}
    path = ".".join(str(part) for part in location if part not in tags) or whole
    if error["type"] == "extra_forbidden":
        return f"{path}: no such key{nearest(str(location[-1]), keys(model, location[:-1]))}"
    if error["type"] == "missing":
        return f"{path}: missing"
    said, given = error["msg"].removeprefix("Value error, "), repr(error["input"])
    if not path:
        return said
    if given in said:
        return f"{path}: {said}"
    return f"{path}: {said[0].lower()}{said[1:]}, got {given}"


def _subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for made in model.__subclasses__():
        yield made
        yield from _subclasses(made)


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation holds: in an option, a tuple, a dict or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables(part)]


def _reachable(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for table in _tables(field.annotation):
                _reachable(table, seen)
    return seen


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """The names by which pydantic's locations call a member of a tagged union."""
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()
