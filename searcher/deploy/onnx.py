"""A finished network as an ONNX file, float or int8: written, read back and run by ONNX Runtime."""

import copy
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx import ModelProto
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules
from torch import Tensor, nn

from searcher.compression.engines import kernels
from searcher.compression.engines.dynamic import Dynamic
from searcher.compression.engines.exclusions import excluded
from searcher.compression.engines.fx_reference import Prepared, Reference, reference
from searcher.compression.network import Network
from searcher.deploy.onnx_dynamic import reference as dynamic_reference
from searcher.deploy.onnx_graph import Graph
from searcher.errors import TrialError
from searcher.files import in_one_step
from searcher.tasks.base import Task

OPSET = 20
"""The version of the ONNX operators in the files."""

_SCRIPTED_OPSET = 18
"""The last one of which torch's TorchScript exporter knows all."""

INPUT, OUTPUT = "images", "logits"

_PROVIDERS = ["CPUExecutionProvider"]
_FUSIONS = ["ConvAddFusion", "ConvBNFusion", "ConvMulFusion", "MatMulAddFusion"]
_NO_ZERO_BIAS = [rules.remove_optional_bias_from_conv_rule, rules.remove_optional_bias_from_gemm_rule]
_LEAF_SPEC = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
_NO_TORCHVISION = "torchvision is not installed"


def export(network: Network, example: Tensor, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write what is executed of a network as one file, in one step; of int8, it is read back.

    Args:
        network: The network; it is not changed.
        example: Images (N, C, H, W), of which the first gives the sizes; the file takes any batch.
        path: The file to write; one that is there is replaced.
        notes: Stored as the file's metadata, `preprocessing` for example.

    Raises:
        TrialError: The network cannot be exported, or the file is not quantized as the network is.
    """
    prepared, layers = network.prepared, None
    if prepared is None:
        export_float(network.executed, example, path, notes)
        return
    if isinstance(prepared, Dynamic):
        layers = prepared.layers
        source = dynamic_reference(network.executed)
        _write_quantized(_exported(source.model, example, source.paths), source, path, notes)
    else:
        export_int8(prepared, example, path, notes)
    verify(path, prepared.exclude, network.architecture, layers)


def export_float(
    model: nn.Module, example: Tensor, path: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Write a float32 network as one file, in one step, with its weights as they are.

    Args:
        model: The network; it is not changed.
        example: Images (N, C, H, W), of which the first gives the sizes; the file takes any batch.
        path: The file to write; one that is there is replaced.
        notes: Stored as the file's metadata, `preprocessing` for example.

    Raises:
        TrialError: The network cannot be exported.
    """
    source = copy.deepcopy(model).cpu().eval()
    source.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _write(_exported(source, example, {}), path, notes)


def export_int8(
    prepared: Prepared, example: Tensor, path: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Write the network that `searcher.compression.engines.fx.convert` executes as one file, in one step.

    Weights are stored as int8 codes; scales, zero points and exclusions are those of the executed network.
    ONNX Runtime has no bfloat16 arithmetic on a CPU: modules kept out at 16 bits compute in float32, with
    weights stored in bfloat16, and what their layers take and return is rounded to bfloat16.

    Args:
        prepared: The calibrated network; it is not changed.
        example: Images (N, C, H, W), of which the first gives the sizes; the file takes any batch.
        path: The file to write; one that is there is replaced.
        notes: Stored as the file's metadata, `preprocessing` for example.

    Raises:
        TrialError: The network cannot be exported.
    """
    source = reference(prepared)
    coded = _with_codes(_exported(source.model, example, source.paths))
    _write_quantized(coded, source, path, notes)


def _write_quantized(
    coded: ModelProto, source: Reference, path: Path, notes: Mapping[str, str] | None
) -> None:
    Graph(coded).store_in_bfloat16(source.halves)
    Graph(coded).store_once_a_call()
    _write(coded, path, notes)


def preprocessing(task: Task) -> dict[str, str]:
    """A task's normalisation, (image / scale - mean) / std, as notes in JSON."""
    figures = {"mean": task.mean, "std": task.std, "scale": task.scale}
    return {key: json.dumps(value) for key, value in figures.items()}


def read_back(path: Path) -> dict[str, str]:
    """The width in which each convolution and linear layer of a file runs, by the module's path.

    Returns:
        ``int8``: int8 codes times a quantized input; ``bfloat16``: float32 arithmetic with weights stored in
        bfloat16; ``float32``. Several of them, joined by ``+``, where a module's calls differ.
    """
    return Graph(onnx.load(path)).executions()


def verify(
    path: Path,
    exclude: Mapping[str, int],
    architecture: nn.Module,
    layers: Collection[str] | None = None,
) -> None:
    """Read a file back and compare what its layers run in with what was asked for.

    Args:
        path: What `export_int8` has written.
        exclude: The width kept by a module, by its path.
        architecture: The float network that was quantized.
        layers: Those that are in int8, by their paths; all that are not kept out, where it is None.

    Raises:
        TrialError: Layers that were to be int8 and are not, or inside and not as they were to be
            kept; names each.
    """
    found = read_back(path)
    errors = []
    for name, module in architecture.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            outer = excluded(name, exclude)
            usual = 8 if layers is None or name in layers else 32
            asked = {8: "int8", 16: "bfloat16", 32: "float32"}[exclude[outer] if outer else usual]
            # A matrix in floating point may be stored the other way round, without its name.
            unnamed = layers is not None and asked == "float32"
            if found.get(name, asked if unnamed else None) != asked:
                errors.append(f"{name} is {found.get(name, 'missing')}, not {asked}")
    if errors:
        raise TrialError(f"{path.name} is not quantized as asked: " + "; ".join(errors))


class Runtime(nn.Module):
    """An ONNX file in ONNX Runtime on the CPU, called like any network: images (N, C, H, W) to logits."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if Graph(onnx.load(path)).largest_code > kernels.LARGEST_NARROW_CODE:
            # Where products are added in 16 bits, this takes kernels that are exact, at half the speed.
            options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = onnxruntime.InferenceSession(path, options, providers=_PROVIDERS)

    @property
    def image(self) -> tuple[int, ...]:
        """The sizes of an image that the file takes: channels, height and width."""
        return tuple(int(size) for size in self._session.get_inputs()[0].shape[1:])

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Float32 images (N, C, H, W) to what the network returns, a tensor or a tuple of them."""
        found = self._session.run(None, {INPUT: images.detach().cpu().contiguous().numpy()})
        outputs = tuple(torch.from_numpy(one) for one in found)
        return outputs[0] if len(outputs) == 1 else outputs


def outputs(path: Path) -> dict[str, tuple[int, ...]]:
    """The outputs of a file by name, with their sizes without the batch's."""
    found = onnx.load(path, load_external_data=False).graph.output
    return {one.name: tuple(d.dim_value for d in one.type.tensor_type.shape.dim[1:]) for one in found}


def _exported(model: nn.Module, example: Tensor, paths: Mapping[str, str]) -> ModelProto:
    # In twos: a batch of one would be taken for a constant.
    images = example[:1].detach().cpu().contiguous().repeat(2, 1, 1, 1)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (images,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[INPUT],
                output_names=_names(model, images),
                opset_version=OPSET,
                optimize=False,  # it would fold batch norms into weights that are then no bfloat16 numbers
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        if (scripted := _scripted(model, images)) is not None:
            return scripted
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise TrialError(f"onnx: {type(model).__name__} cannot be exported: {reason}") from error
    assert program is not None
    proto = program.model_proto
    optimizer.fold_constants(proto)
    proto = rewriter.rewrite(proto, _NO_ZERO_BIAS)
    Graph(proto).name_layers(paths)
    return proto


def _scripted(model: nn.Module, images: Tensor) -> ModelProto | None:
    """A network whose forward branches on values, by TorchScript, which alone exports branches as such.

    Norms are folded into the layers before them. None where its forward is not of TorchScript's language.
    """
    names = _names(model, images)
    try:
        with warnings.catch_warnings(), _quiet(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore", DeprecationWarning)  # the one exporter that can
            torch.onnx.export(
                torch.jit.script(model),
                (images,),
                file := str(Path(folder) / "scripted.onnx"),
                dynamo=False,
                dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
                input_names=[INPUT],
                output_names=names,
                opset_version=_SCRIPTED_OPSET,
            )
            return onnx.load(file)
    except Exception:  # whatever its compiler says of a user's code
        return None


@torch.no_grad()
def _names(model: nn.Module, images: Tensor) -> list[str]:
    """Of the outputs: one alone are logits, several a detector's maps."""
    outputs = model(images)
    return [OUTPUT] if isinstance(outputs, Tensor) else [f"map{place}" for place in range(len(outputs))]


def _with_codes(proto: ModelProto) -> ModelProto:
    """The same model with weights as int8 codes instead of operators that compute them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "codes.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=_PROVIDERS, disabled_optimizers=_FUSIONS
        )
        return onnx.load(file)


def _write(proto: ModelProto, path: Path, notes: Mapping[str, str] | None) -> None:
    optimizer.remove_unused_nodes(proto)
    Graph(proto).tidy()
    domains = {node.domain for node in proto.graph.node}
    for opset in [opset for opset in proto.opset_import if opset.domain not in domains]:
        proto.opset_import.remove(opset)
    onnx.helper.set_model_props(proto, dict(notes or {}))
    onnx.checker.check_model(proto, full_check=True)
    with in_one_step(path) as part:
        part.write_bytes(proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("torch.onnx._internal.exporter._registration")

    def of_use(entry: logging.LogRecord) -> bool:
        return _NO_TORCHVISION not in entry.getMessage()

    log.addFilter(of_use)
    try:
        # What cannot be exported is printed as a graph, beside the error.
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.filterwarnings("ignore", message=_LEAF_SPEC, category=FutureWarning)
            yield
    finally:
        log.removeFilter(of_use)
