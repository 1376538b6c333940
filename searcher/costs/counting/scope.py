"""The running module: the scope by which operations are named."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

INNER = "_inner"
"""The attribute under which a wrapper holds its module: the wrapper is left out of the paths read back."""

CALL = "_call"
"""With a number, the attribute under which a wrapper holds the copy of its module for a further call."""

SATURATED = "_saturated"
"""The innermost part of the scope of what holds int8 codes in a narrower range."""

ONE_OPERATION = "one_operation"
"""The attribute of a class whose modules are an operation each, as those of torch without any inside are."""

_CALLED = re.compile(rf"{CALL}(\d+)")


class Scope:
    """Names operations by the module that runs them while a model is called inside `entered`.

    A module of torch with nothing inside it names its operation by its path alone; what a forward calls
    itself is named ``<path>.<kind>()``, numbered from the second on.
    """

    def __init__(self, model: nn.Module) -> None:
        self.paths = {id(m): without_wrappers(path) for path, m in model.named_modules()}
        self.stack: list[tuple[str, bool]] = [("", False)]
        self._named: Counter[str] = Counter()

    @contextmanager
    def entered(self, model: nn.Module) -> Iterator[None]:
        """Follow the model's modules; in eval mode and without gradients meanwhile."""
        training = [module for module in model.modules() if module.training]
        with ExitStack() as stack, torch.no_grad():
            for hook in (
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave, always_call=True),
            ):
                stack.callback(hook.remove)
            for module in training:
                module.training = False
                stack.callback(setattr, module, "training", True)
            yield

    @property
    def saturates(self) -> bool:
        """Whether what runs now holds int8 codes in a narrower range."""
        return self.stack[-1][0].rpartition(".")[2] == SATURATED

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """The scope of a functional node of an FX graph, which no module runs."""
        self.stack.append((path, False))
        yield
        self.stack.pop()

    def name(self, kind: str) -> str:
        """The name of an operation that the innermost module now runs."""
        path, whole = self.stack[-1]
        if whole:
            return path
        name = f"{path}.{kind}".lstrip(".")
        self._named[name] += 1
        count = self._named[name]
        return f"{name}()" if count == 1 else f"{name}_{count - 1}()"

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        path = self.paths.get(id(module), self.stack[-1][0])
        # Of the class: to ask a module for a parametrized weight is to compute it.
        packed = callable(getattr(type(module), "weight", None))
        alone = packed or not any(True for _ in module.children())
        torchs = alone and type(module).__module__.startswith("torch.")
        whole = bool(path) and (torchs or getattr(type(module), ONE_OPERATION, False) is True)
        self.stack.append((path, whole and not isinstance(module, fx.GraphModule)))

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()


class Scoped(fx.Interpreter):
    """Runs an FX graph and tells the scope of the functions and methods in it."""

    def __init__(self, model: fx.GraphModule, scope: Scope) -> None:
        super().__init__(model)
        self.scope = scope

    def run_node(self, n: fx.Node) -> Any:
        """Run a node in the scope of the module that it came from."""
        if n.op not in ("call_function", "call_method"):
            return super().run_node(n)
        with self.scope.at(next(reversed(n.meta.get("nn_module_stack") or {}), "")):
            return super().run_node(n)


def run(model: nn.Module, scope: Scope, example: Any) -> Any:
    """A model's outputs for an example, with the scope followed."""
    call: Callable[[Any], Any] = Scoped(model, scope).run if isinstance(model, fx.GraphModule) else model
    with scope.entered(model):
        return call(example)


def without_wrappers(path: str) -> str:
    """A path as it was before modules were wrapped, and copied a call."""
    return ".".join(part for part in path.split(".") if part != INNER and not _CALLED.fullmatch(part))


def repeated_call(path: str) -> int | None:
    """The call for which the module of a path is a copy: 2 and more; None where it is the module itself."""
    numbers = (match[1] for part in path.split(".") if (match := _CALLED.fullmatch(part)))
    return int(number) if (number := next(numbers, None)) else None
