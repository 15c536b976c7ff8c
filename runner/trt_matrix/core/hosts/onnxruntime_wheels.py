"""ONNX Runtime as packages: which Python and which numpy an old version runs with. Pure.

Asked of the index in November 2026 (`uv pip compile --only-binary :all: --python-version …`). Up to 1.18 the
wheels are built for numpy 1, and only those of 1.18.1 say so: with numpy 2 they end in
"A module that was compiled using NumPy 1.x cannot be run in NumPy 2".
"""

from trt_matrix.core.hosts.compatibility import version

Python = tuple[int, int]

_PYTHONS: tuple[tuple[str, Python, Python], ...] = (
    ("1.17", (3, 8), (3, 11)),
    ("1.20", (3, 8), (3, 12)),
    ("1.24", (3, 10), (3, 13)),
)
"""(first version that is had otherwise, oldest and newest Python with wheels of those before it)."""

_NUMPY_2 = "1.19"
"""The first version that runs with numpy 2."""


def pythons(release: str) -> tuple[Python, Python] | None:
    """Returns the oldest and the newest Python that an old version has wheels for; None for one of today."""
    stated = version(release)
    return next(
        ((oldest, newest) for before, oldest, newest in _PYTHONS if stated < version(before)), None
    )


def beside(release: str) -> tuple[str, ...]:
    """Returns what must be asked for beside a version, so that it runs."""
    return ("numpy<2",) if version(release) < version(_NUMPY_2) else ()
