"""Whether the network's UFF file is there and its names fit the heads; what is in it only TensorRT reads."""

from collections.abc import Collection, Sequence
from pathlib import Path

from trt_matrix.config.network import Uff
from trt_matrix.config.problems import did_you_mean
from trt_matrix.core.network.image_input import ImageInput
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.execution.uff import SUFFIX, UffFile
from trt_matrix.store.untrusted import named_file

Problem = tuple[tuple[str, ...], str]
"""Path below `model.uff`; what is wrong there."""


def uff_file(
    stated: Uff,
    root: Path,
    image: ImageInput,
    heads: Sequence[tuple[str, str]],
    inner: Collection[str] = (),
) -> tuple[UffFile | None, list[Problem]]:
    """Returns the file with its interface, None where it cannot serve, and why.

    `image` and `heads` are of the ONNX form; `inner` are heads whose tensors are inside that: a UFF file's outputs
    are marked in it.
    """
    problems: list[Problem] = []
    content = b""
    if stated.file.suffix != SUFFIX:
        problems.append((("file",), f"{stated.file} does not end in {SUFFIX}"))
    try:
        content = named_file(root / stated.file, LIMIT_NETWORK_BYTES)
    except OSError as error:
        problems.append((("file",), f"{root / stated.file}: {error.strerror}"))
    else:
        if not content:
            problems.append((("file",), f"{root / stated.file} is empty"))
    known = [head for head, _ in heads]
    problems += [
        (("outputs", head), f"{head!r} is no head{did_you_mean(head, known)}")
        for head in stated.outputs
        if head not in known
    ]
    problems += [
        ((), f"head {head} is a tensor inside the network; of a UFF file TensorRT gives out only what "
         "was marked as output when it was converted: leave `uff` or that head out")
        for head in inner
    ]  # fmt: skip
    if image.channels_last:
        problem = (
            "TensorRT's UFF parser gives networks with channels first, the ONNX network has them last: "
            "export that with channels first (tf2onnx: --inputs-as-nchw, --outputs-as-nchw)"
        )
        problems.append(((), problem))
    outputs = {tensor: stated.outputs.get(head, tensor) for head, tensor in heads}
    nodes = [stated.input or image.name, *outputs.values()]
    twice = sorted({node for node in nodes if nodes.count(node) > 1})
    if twice:
        problems.append((("outputs",), f"{twice[0]!r} is named twice: each is another node"))
    if problems:
        return None, problems
    file = UffFile(
        name=str(stated.file),
        content=content,
        input=image.name,
        node=stated.input or image.name,
        shape=image.shape,
        outputs=outputs,
    )
    return file, []
