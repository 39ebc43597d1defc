"""Formats of files by name, as `qar export --format` takes it."""

from pathlib import Path

from trainables.codebooks.artifact import Artifact
from trainables.codebooks.artifact_file import write_artifact
from trainables.formats.dense import load_dense, write_dense
from trainables.formats.file_format import FileFormat, Logits
from trainables.formats.onnx_graph import load_onnx, write_onnx
from trainables.formats.pixel_network import load_artifact
from trainables.formats.program import load_program, write_program


def _load_qar(path: Path, artifact: Artifact) -> Logits:
    return load_artifact(path, trust_code=True)  # the code that has trained the network


FORMATS: dict[str, FileFormat] = {
    "qar": FileFormat(content="compressed, for qar evaluate", write=write_artifact, load=_load_qar),
    "safetensors": FileFormat(content="dense state_dict", write=write_dense, load=load_dense),
    "torch": FileFormat(content="ExportedProgram of torch.export", write=write_program, load=load_program),
    "onnx": FileFormat(
        content="ONNX with codebooks and levels",
        write=write_onnx,
        load=load_onnx,
        writer=("onnx", "onnxscript"),
        runtime=("onnxruntime",),
    ),
}
