"""The layers of an ONNX graph by their modules' paths, and the widths that they run in."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping

import onnx
import torch
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

_INTEGERS = "MatMulInteger"
_LAYERS = ("Conv", "Gemm", "MatMul", _INTEGERS)
_CARRIERS = ("Cast", "Clip", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Transpose")
_REPEATED = "#"


class Graph:
    """A model's graph, in which values are followed back to what has made them."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._makers = {output: node for node in model.graph.node for output in node.output}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def name_layers(self, paths: Mapping[str, str]) -> None:
        """Call every layer what its module is called, known by its weight; a second call is ``path#2``.

        Args:
            paths: A module's path, by the path under which its parameters are; the same where there is none.
        """
        seen: Counter[str] = Counter()
        for node, weight in self._weighted():
            module = weight.name.rpartition(".")[0]
            path = paths.get(module, module)
            seen[path] += 1
            node.name = path if seen[path] == 1 else f"{path}{_REPEATED}{seen[path]}"

    def executions(self) -> dict[str, str]:
        """The width of each named layer: see `searcher.deploy.onnx.read_back`."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for node in self._graph.node:
            if node.op_type in _LAYERS:
                found[_path(node)].add(self._execution(node))
        return {name: "+".join(sorted(kinds)) for name, kinds in found.items()}

    @property
    def largest_code(self) -> int:
        """The largest magnitude among the int8 codes of the weights; 0 without any."""
        coded = [t for t in self._tensors.values() if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
        return max((int(abs(onnx.numpy_helper.to_array(t).astype(int)).max()) for t in coded), default=0)

    def store_in_bfloat16(self, paths: Collection[str]) -> None:
        """Store the float32 weights of some layers, which are bfloat16 numbers, as such, and cast them."""
        for node, weight in self._weighted():
            if _path(node) in paths and weight.data_type == TensorProto.FLOAT:
                stored = _bfloat16(weight)
                cast = onnx.helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT)
                weight.CopyFrom(stored)
                self._graph.node.insert(0, cast)

    def store_once_a_call(self) -> None:
        """Give each product of integers a weight of its own: ONNX Runtime loads none that several share."""
        seen: Counter[str] = Counter()
        for node in self._graph.node:
            if node.op_type != _INTEGERS:
                continue
            weight = node.input[1]
            seen[weight] += 1
            if seen[weight] > 1:
                node.input[1] = f"{weight}{_REPEATED}{seen[weight]}"
                self._graph.initializer.add().CopyFrom(self._tensors[weight])
                self._graph.initializer[-1].name = node.input[1]

    def tidy(self) -> None:
        """Drop what names the machine that wrote it, shapes that a reader infers, long names and copies."""
        graph = self._graph
        for part in (*_nodes(graph), *graph.initializer, *graph.input, *graph.output):
            part.ClearField("doc_string")
            part.ClearField("metadata_props")
        graph.ClearField("value_info")
        self._rename(self._copies() | self._short_names())
        for i, node in enumerate(graph.node):
            if node.op_type not in _LAYERS:
                # ONNX Runtime names by it what it makes of a node: an empty name will not do.
                # No module has a colon in its path.
                node.name = f":{i}"

    def _copies(self) -> dict[str, str]:
        """Scalars that are stored twice; only the first stays.

        Not vectors: ONNX Runtime cannot load shared zero points of weights for processors without VNNI.
        """
        first: dict[tuple[int, bytes], str] = {}
        copies = {}
        for name, tensor in self._tensors.items():
            key = tensor.data_type, onnx.numpy_helper.to_array(tensor).tobytes()
            if not tensor.dims and first.setdefault(key, name) != name:
                copies[name] = first[key]
                self._graph.initializer.remove(tensor)
        return copies

    def _short_names(self) -> dict[str, str]:
        fixed = {value.name for value in self._graph.output} | {""}
        free = (name for name in map("v{}".format, itertools.count()) if name not in self._tensors)
        return {name: next(free) for name in self._makers if name not in fixed}

    def _rename(self, names: Mapping[str, str]) -> None:
        for node in _nodes(self._graph):
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]

    def _weighted(self) -> list[tuple[NodeProto, TensorProto]]:
        layers = [(node, self._weight(node)) for node in self._graph.node if node.op_type in _LAYERS]
        return [(node, weight) for node, weight in layers if weight is not None]

    def _weight(self, node: NodeProto) -> TensorProto | None:
        """The stored tensor that a layer multiplies by; none where that is computed."""
        name = node.input[1]
        while name in self._makers and self._makers[name].op_type in _CARRIERS:
            name = self._makers[name].input[0]
        return self._tensors.get(name)

    def _execution(self, node: NodeProto) -> str:
        weight = self._weight(node)
        stored = TensorProto.FLOAT if weight is None else weight.data_type
        if node.op_type == _INTEGERS:
            return "int8"
        makers = [self._makers.get(name) for name in node.input[:2]]
        if stored == TensorProto.INT8 and all(m and m.op_type == "DequantizeLinear" for m in makers):
            return "int8"
        return "bfloat16" if stored == TensorProto.BFLOAT16 else "float32"


def _path(node: NodeProto) -> str:
    return node.name.partition(_REPEATED)[0]


def _bfloat16(tensor: TensorProto) -> TensorProto:
    values = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()).bfloat16()
    codes = values.view(torch.int16).numpy().tobytes()
    name = f"{tensor.name}_bfloat16"
    return onnx.helper.make_tensor(name, TensorProto.BFLOAT16, list(values.shape), codes, raw=True)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of its branches too, which read the names of the graph around them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
