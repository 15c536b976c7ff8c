"""Weights that a network keeps in files beside it: plain files of its own folder, no larger than ONNX can hold."""

from pathlib import Path

import onnx

from trt_matrix.core.network.graph import GraphError
from trt_matrix.core.network.loading import external_files
from trt_matrix.core.tables.reading import LIMIT_NETWORK_BYTES
from trt_matrix.store.untrusted import UntrustedError, content


def external_weights(path: Path, model: onnx.ModelProto) -> dict[str, bytes]:
    """Returns file name → content of the weights that are not in the network's own file, which is at `path`.

    Raises:
        GraphError: one is missing, a link, no plain file, or all are larger than a network can be.
    """
    weights: dict[str, bytes] = {}
    left = LIMIT_NETWORK_BYTES
    for name in external_files(model):
        try:
            weights[name] = content(path.parent.resolve(), name, left)
        except FileNotFoundError as error:
            message = f"{path.parent / name}: No such file or directory; the network keeps its weights there"
            raise GraphError(message) from error
        except UntrustedError as error:
            message = f"{path}: its weights are to be plain files beside it: {error}; copy them there, no links"
            raise GraphError(message) from error
        left -= len(weights[name])
    return weights
