"""The section `calibration.forensics` of matrix.yaml: what is looked at of the calibration set on request."""

from pydantic import Field

from trt_matrix.config.sections import Section


class Forensics(Section):
    """What takes too long for every run (docs/how-to/calibration-images.md has seconds); the rest is always done."""

    learning_curve: bool = Field(
        False,
        description="Make tables of 1, 4, 16, … calibration images, several draws each, and simulate them: "
        "would more images help?",
    )
    preprocessing: bool = Field(
        False,
        description="Feed the float network its evaluation images in every known preprocessing: does it find "
        "more in another? Needs labels.",
    )
