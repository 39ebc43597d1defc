"""ONNX: a graph in which each quantized weight is a codebook and its levels, joined by `Gather`; stock runtimes run it.

`Gather` has been part of ONNX since its first operator set. The file asks for operator set 21, the first in which
levels may be uint4; so a weight takes 4 bits at K ≤ 16, 8 at K ≤ 256 and 16 above.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.assignment import Codebook
from trainables.formats.dense import describe
from trainables.formats.file_format import Logits
from trainables.formats.pixel_network import PixelNetwork
from trainables.formats.program import BATCH, example, exporting

if TYPE_CHECKING:
    import onnx

OPSET = 21


def write_onnx(path: Path, artifact: Artifact) -> None:
    """Write the network as an ONNX graph from `pixels` to `logits`; raise ValueError if it can't be exported."""
    import onnx
    import onnxscript.optimizer

    with exporting(artifact, "onnx"), warnings.catch_warnings(action="ignore"), _quiet("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            PixelNetwork(artifact),
            (example(artifact),),
            dynamo=True,
            optimize=False,  # or weights would be folded into others, and lose their names
            verbose=False,
            dynamic_shapes=BATCH,
            input_names=["pixels"],
            output_names=["logits"],
            opset_version=OPSET,
        )
        assert program is not None
        onnxscript.optimizer.fold_constants(program.model)  # sizes that the exporter computes step by step
        onnxscript.optimizer.remove_unused_nodes(program.model)
        model = program.model_proto
    for name, codebook in artifact.codebooks.items():
        _gather(model.graph, f"network.{name}", codebook)
    for item in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del item.metadata_props[:]  # paths and stack traces of this machine
    texts = describe(artifact) | {"input": "pixels in [0, 255], float32, N×C×H×W"}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _gather(graph: "onnx.GraphProto", name: str, codebook: Codebook) -> None:
    """Replace a dense weight of a graph by `Gather(codebook, levels)`; leave a graph without this weight as it is."""
    from onnx import helper, numpy_helper

    representatives, levels = codebook
    places = [place for place, tensor in enumerate(graph.initializer) if tensor.name == name]
    if not places:
        return
    del graph.initializer[places[0]]
    values = numpy_helper.from_array(representatives.float().numpy(), f"{name}.codebook")
    graph.initializer.extend(
        [values, _levels_tensor(f"{name}.levels", levels.contiguous().numpy(), len(representatives))]
    )
    # Gather takes int32 or int64: runtimes widen and gather once, when they load the file.
    nodes = [
        helper.make_node("Cast", [f"{name}.levels"], [f"{name}.indices"], to=_type("INT32")),
        helper.make_node("Gather", [f"{name}.codebook", f"{name}.indices"], [name], axis=0),
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _levels_tensor(name: str, levels: np.ndarray, num_levels: int) -> "onnx.TensorProto":
    """Return the levels as a tensor of the smallest type that holds them, in the shape of the weight."""
    from onnx import helper

    if num_levels <= 16:
        pairs = np.append(levels.reshape(-1), [0] * (levels.size % 2)).astype(np.uint8).reshape(-1, 2)
        packed, kind = pairs[:, 0] | pairs[:, 1] << 4, "UINT4"
    else:
        packed, kind = (levels.astype("<u1"), "UINT8") if num_levels <= 256 else (levels.astype("<u2"), "UINT16")
    return helper.make_tensor(name, _type(kind), levels.shape, packed.tobytes(), raw=True)


def _type(name: str) -> int:
    import onnx

    return int(onnx.TensorProto.DataType.Value(name))


def load_onnx(path: Path, artifact: Artifact) -> Logits:
    """Return the function of the graph in a file, as onnxruntime computes it with its defaults on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors, without remarks on how it optimizes the graph
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def logits(pixels: Tensor) -> Tensor:
        (values,) = session.run(["logits"], {"pixels": pixels.contiguous().numpy()})
        return torch.from_numpy(values)

    return logits


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Let a logger say nothing for the time of the block."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
