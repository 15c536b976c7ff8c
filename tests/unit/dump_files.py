"""Files as somebody's own program writes them."""

import io
from pathlib import Path

import numpy as np

from trt_matrix.dumps.files import tensors
from trt_matrix.dumps.tensor import FileFormat, Tensor

RNG = np.random.default_rng(5)

VALUES = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def read(tensor: Tensor, size: int = 7) -> np.ndarray:
    step = size * tensor.elements_at_once
    return np.concatenate([block.copy() for block in tensor.blocks(step)])


def only(path: Path, form: FileFormat | None = None) -> Tensor:
    [tensor] = tensors(path, form or FileFormat())
    return tensor
