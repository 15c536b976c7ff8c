"""What is recognised without a doubt can be decoded as it is said."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.decodings import told_of
from tests.unit.test_recognising import N4
from trt_matrix.core.boxes.registry import recognised
from trt_matrix.core.boxes.styles import SeenOutput

SIZES = st.sampled_from([(64, 96), (320, 320), (100, 30)])


@st.composite
def networks(draw: st.DrawFn) -> tuple[tuple[int, int], list[SeenOutput]]:
    """Outputs that could be something: tables and maps of the grids of one input, and others."""
    size = draw(SIZES)
    cells = [-(-size[0] // s) * -(-size[1] // s) for s in N4]
    grids = [(-(-size[0] // s), -(-size[1] // s)) for s in (4, *N4)]
    rows = st.sampled_from(
        [
            *cells,
            *(2 * cell for cell in cells),
            sum(cells[:3]),
            sum(cells),
            3 * sum(cells[:3]),
            100,
            300,
        ]
    )
    columns = st.sampled_from([1, 2, 4, 5, 10, 32, 56, 57, 80, 84, 85, 92, 112, 144, 255])
    shape = st.one_of(
        st.tuples(rows, columns),
        st.tuples(columns, rows),
        st.builds(lambda c, g: (c, *g), columns, st.sampled_from(grids)),
        st.lists(st.integers(0, 9), max_size=4).map(tuple),
    )
    name = st.sampled_from(["cls", "obj", "bbox", "dis_pred", "hm", "wh", "reg", "440", "scores"])
    tail = st.none() | st.frozensets(st.sampled_from(["Sigmoid", "Exp", "Mul", "Softmax"]))
    kinds = draw(st.lists(st.tuples(name, shape, tail), min_size=1, max_size=4))
    repeated = draw(st.integers(1, 3))
    return size, [
        SeenOutput(name=f"{name}_{number}", shape=shape, tail=tail)
        for number, (name, shape, tail) in enumerate(kinds * repeated)
    ]


@given(networks())
def test_what_is_recognised_without_a_doubt_can_be_decoded(
    network: tuple[tuple[int, int], list[SeenOutput]],
) -> None:
    size, outputs = network
    proposals = recognised(outputs, size)
    if len(proposals) == 1 and not proposals[0].doubt:
        shapes = {output.name: output.shape for output in outputs}
        heads: dict[str, Any] = {name: {} for name in shapes}
        heads |= {name: dict(settings) for name, settings in proposals[0].heads.items()}
        assert told_of(heads, proposals[0].decode, size, shapes)[1] == []
