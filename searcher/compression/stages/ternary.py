"""Training of ternary weights."""

from dataclasses import replace

from torch import Tensor, nn

from searcher.compression.engines import ternary
from searcher.compression.network import Network
from searcher.compression.outlined import Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.stages.quantize_aware import zeros_kept
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run
from searcher.config.recipe import Ternary
from searcher.costs.counting.recorder import record

_SCALES = "scales of "


class TernaryRunner(Runner[Ternary]):
    """Trains weights of three values."""

    stored = False

    def run(self, model: nn.Module, stage: Ternary, run: Run) -> Network:
        """Train codes and scales; what is executed has the three values in each layer."""
        from searcher.compression.cached import kept_state  # which asks the runners for their versions

        model = model.cpu().eval()
        rows = record(model, run.task.example())
        names = ternary.layers(rows, dict(model.named_modules()), stage.exclude)
        state = kept_state(run, lambda inner: _trained(model, stage, inner, names))
        scales = {name: state.pop(f"{_SCALES}{name}") for name in names}
        model.load_state_dict(state)
        return Network(model, ternary.executed(model, scales, stage.threshold))

    def predict(self, outlined: Outlined, stage: Ternary) -> None:
        """Tell the width of the weights."""
        names = set(ternary.layers(outlined.ops, outlined.modules, stage.exclude))
        bits = ternary.BITS
        outlined.ops = [
            replace(op, weight_bits=bits, effective_bits=bits, bits=bits)
            if op.name in names and op.weight_bits
            else op
            for op in outlined.ops
        ]


def _trained(model: nn.Module, stage: Ternary, run: Run, names: list[str]) -> dict[str, Tensor]:
    """All that training changes: the network's state, and the scales."""
    teacher = teacher_of(stage.teaching, stage, run, model)
    model.to(run.device)
    keep = zeros_kept(model)
    ternary.parametrized(model, names, stage.threshold)
    finetune(teacher, model, run, stage, "ternary", after_step=keep)
    model.to("cpu")
    scales = {f"{_SCALES}{name}": pair for name, pair in ternary.taken(model, names).items()}
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()} | scales
