"""Training with quantization in the network, which then is executed in integers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from searcher.compression.engines import fx, fx_aware
from searcher.compression.engines.folding import fold_norms
from searcher.compression.network import Network
from searcher.compression.outlined import Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.stages.quantize import predict, prepare
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run
from searcher.config.recipe import QuantizeAware

_STEPS = "learned "


class QuantizeAwareRunner(Runner[QuantizeAware]):
    """Trains in codes with learned steps, then converts."""

    stored = False

    def run(self, model: nn.Module, stage: QuantizeAware, run: Run) -> Network:
        """Fold norms, train weights and steps, and convert what they have become."""
        from searcher.compression.cached import kept_state  # which asks the runners for their versions

        model = model.cpu().eval()
        folded = fold_norms(model, run.task.example(), stage.exclude)
        state = kept_state(run, lambda inner: _trained(model, stage, inner, folded))
        learned = {
            name.removeprefix(_STEPS): state.pop(name) for name in list(state) if name.startswith(_STEPS)
        }
        model.load_state_dict(state)
        prepared = fx_aware.with_steps(prepare(model, stage, run, stage.exclude), learned)
        return Network(model, fx.convert(model, prepared), prepared)

    def predict(self, outlined: Outlined, stage: QuantizeAware) -> None:
        """Tell the width of every row."""
        predict(outlined, stage)


def _trained(model: nn.Module, stage: QuantizeAware, run: Run, folded: dict[str, str]) -> dict[str, Tensor]:
    """All that training changes: the network's state, and the steps."""
    teacher = teacher_of(stage.teaching, stage, run, model)
    # What is kept out at 16 bits is trained in 32.
    graph = fx_aware.trainable(prepare(model, stage, run, dict.fromkeys(stage.exclude, 32)))
    graph.to(run.device)
    finetune(teacher, graph, run, stage, "quantize aware", after_step=zeros_kept(graph))
    graph.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    fx_aware.write_back(graph, model, folded)
    steps = {f"{_STEPS}{name}": tensor for name, tensor in fx_aware.steps(graph).items()}
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()} | steps


def zeros_kept(model: nn.Module) -> Callable[[], None]:
    """A function that sets weights back to zero that are zero now, after a step."""
    weights = [p for p in model.parameters() if p.dim() > 1 and not bool(p.detach().all())]
    masks = [(weight.detach() != 0).to(weight.dtype) for weight in weights]

    @torch.no_grad()
    def apply() -> None:
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)

    return apply
