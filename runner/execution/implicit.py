"""Where the scales of TensorRT's implicit int8 come from, for each pass."""

import json

from runner.cells import Pass
from runner.core.tables.table import Table
from runner.execution.wanted import Implicit, Wants
from runner.store import object_of

CARRIER = "entropy2"
"""Calibrator as whose cache a table is carried: TensorRT reads it, and calibrates nothing."""

UNKNOWN = "unknown"
"""Calibrator of recorded outputs, where the user did not say which."""


def calibrated_inside(pass_: Pass, wants: Wants) -> Implicit:
    """Returns an own table: TensorRT's calibrator makes it of the calibration images."""
    return Implicit(
        scales="calibrate", calibrator=pass_.algorithm or UNKNOWN, images=wants.data.calibration
    )


def carried(table: Table, wants: Wants) -> tuple[Implicit, bytes]:
    """Returns how a table made elsewhere is carried over, and the file to put into the store."""
    content = json.dumps(dict(table.amax), allow_nan=False, sort_keys=True).encode()
    how = wants.settings.transplant
    implicit = Implicit(
        scales=how,
        calibrator=CARRIER if how == "cache" else None,
        table=object_of(content, ".json"),
    )
    return implicit, content
