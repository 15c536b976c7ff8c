"""The passes that most tests are about."""

from dataclasses import replace

from trt_matrix.core.cells import Pass, Precision, TableSource

FP32 = Pass(precision=Precision.FP32)
FP16 = Pass(precision=Precision.FP16)
SHARED = Pass(precision=Precision.INT8, source=TableSource.SHARED, algorithm="entropy")
IMPLICIT = replace(SHARED, implicit=True)
OWN = Pass(precision=Precision.INT8, source=TableSource.OWN, algorithm="entropy")
MINMAX = replace(OWN, algorithm="minmax")
