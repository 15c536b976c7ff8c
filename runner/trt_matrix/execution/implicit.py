"""Where the scales of TensorRT's implicit int8 come from, for each pass."""

import json

from trt_matrix.core.cells import Pass
from trt_matrix.core.diagnosis.groups import made_by
from trt_matrix.core.network.canonical import canonical
from trt_matrix.core.qdq.scale_groups import equal_ranges
from trt_matrix.core.tables.table import Table
from trt_matrix.execution.wanted import Implicit, PassRequests
from trt_matrix.store.results import object_of

CARRIER = "entropy2"
"""Calibrator as whose cache a table is carried: TensorRT reads it, and calibrates nothing."""

UNKNOWN = "unknown"
"""Calibrator of recorded outputs, where the user did not say which."""


def calibrated_inside(pass_: Pass, wants: PassRequests) -> Implicit:
    """Returns an own table: TensorRT's calibrator makes it of the calibration images."""
    return Implicit(
        scales="calibrate", calibrator=pass_.algorithm or UNKNOWN, images=wants.data.calibration
    )


def carried(table: Table, wants: PassRequests, pass_: Pass) -> tuple[Implicit, bytes]:
    """Returns how a table made elsewhere is carried over, and the file to put into the store.

    Raises:
        GraphError: the pass keeps a layer in float that the network does not have.
    """
    form = canonical(wants.network.model)
    changed = equal_ranges(form, table.amax) if wants.settings.equal_ranges else {}
    content = json.dumps({**table.amax, **changed}, allow_nan=False, sort_keys=True).encode()
    how = wants.settings.transplant
    implicit = Implicit(
        scales=how,
        calibrator=CARRIER if how == "cache" else None,
        table=object_of(content, ".json"),
        changed=changed,
        held=made_by(form, pass_.exclude),
    )
    return implicit, content
