"""A table that was made of images preprocessed in another way: the way is named, and no other table accused."""

import numpy as np
import onnxruntime
import pytest

from tests.unit.small_networks import detector
from trt_matrix.containers.job import thresholds
from trt_matrix.containers.job.histogram import Histogram
from trt_matrix.core.calibration import preprocessings
from trt_matrix.core.calibration.claims import table_claims
from trt_matrix.core.calibration.fed import Pixels
from trt_matrix.core.calibration.preprocessings import (
    AS_FED,
    Nearest,
    PixelForm,
    early,
    forms,
    nearest,
    with_exchanged,
)
from trt_matrix.core.calibration.report import Concern, FedTable
from trt_matrix.core.network.calibration_graph import calibration_model

UNIT = Pixels(scale=1 / 255, mean=(0.0,) * 3, std=(1.0,) * 3)
CENTRED = Pixels(scale=1.0, mean=(127.0,) * 3, std=(128.0,) * 3)
FEDS = {"pixel / 255": UNIT, "(pixel − 127) / 128": CENTRED}
ALGORITHMS = ("minmax", "percentile")

MODEL, TENSORS = calibration_model(detector())
SESSION = onnxruntime.InferenceSession(MODEL.SerializeToString())
INNER = [tensor for tensor in TENSORS if tensor != "image"]


def pixels(seed: int, number: int) -> np.ndarray:
    """Blobs on a ground, (n, 16, 16, 3), 0 to 255."""
    random = np.random.default_rng(seed)
    small = random.uniform(0, 255, (number, 4, 4, 3))
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(np.round(large + random.normal(0, 12, large.shape)), 0, 255)


def ranges(fed: np.ndarray) -> tuple[dict[str, float], ...]:
    """A mapping an algorithm, of images as they are fed, channels last."""
    histograms = {name: Histogram(name) for name in TENSORS}
    for image in fed:
        one = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        values = dict(zip(INNER, SESSION.run(INNER, {"image": one}), strict=True)) | {"image": one}
        for name, histogram in histograms.items():
            histogram.add(values[name])
    return tuple(
        {
            name: thresholds.threshold(histogram, algorithm, {})
            for name, histogram in histograms.items()
        }
        for algorithm in ALGORITHMS
    )


def seen(fed: Pixels) -> dict[str, tuple[dict[str, float], ...]]:
    images = fed.value(pixels(1, 16))
    wanted = early(TENSORS)
    return {
        form.name: tuple(
            {name: one[name] for name in wanted} for one in ranges(form.of(images, fed))
        )
        for form in forms(fed)
    }


SEEN = {name: seen(fed) for name, fed in FEDS.items()}


def found(form: PixelForm, fed: Pixels, algorithm: int, seed: int = 50) -> Nearest:
    """What is said of a table of other images, preprocessed as `form`."""
    images = fed.value(pixels(seed, 40))
    table = ranges(form.of(images, fed))[algorithm]
    name = next(one for one, other in FEDS.items() if other == fed)
    told = nearest(table, SEEN[name])
    assert told is not None
    return told


@pytest.mark.parametrize("fed", FEDS)
@pytest.mark.parametrize("algorithm", [0, 1])
def test_the_preprocessing_that_a_table_was_made_with_is_named(fed: str, algorithm: int) -> None:
    how = FEDS[fed]
    for form in forms(how)[1:]:
        told = found(form, how, algorithm)
        assert told.named, form
        assert told.forms[0] == form.name
        assert told.fed > told.distance


@pytest.mark.parametrize("fed", FEDS)
@pytest.mark.parametrize("algorithm", [0, 1])
@pytest.mark.parametrize("seed", [50, 51, 52, 53])
def test_a_table_of_other_images_preprocessed_alike_is_not_accused(
    fed: str, algorithm: int, seed: int
) -> None:
    how = FEDS[fed]
    told = found(forms(how)[0], how, algorithm, seed)
    assert not told.named
    assert AS_FED in told.forms


def test_a_table_of_dark_images_is_not_called_another_preprocessing() -> None:
    for how in FEDS.values():
        dark = how.value(0.15 * pixels(60, 40))
        name = next(one for one, other in FEDS.items() if other == how)
        told = nearest(ranges(dark)[0], SEEN[name])
        assert told is not None
        assert not told.named or told.distance > preprocessings.FITS


def test_a_table_of_another_network_fits_nothing() -> None:
    random = np.random.default_rng(1)
    table = {name: float(np.exp(random.normal(0, 3))) for name in TENSORS}
    told = nearest(table, SEEN["pixel / 255"])
    assert told is not None
    assert not told.named


def test_a_table_with_nothing_in_common_or_unusable_ranges_says_nothing() -> None:
    few = dict.fromkeys(list(early(TENSORS))[:3], 1.0)
    assert nearest(few, SEEN["pixel / 255"]) is None
    broken = dict.fromkeys(TENSORS, float("nan")) | {TENSORS[0]: -1.0, TENSORS[1]: 0.0}
    assert nearest(broken, SEEN["pixel / 255"]) is None
    assert nearest({}, {}) is None


def test_the_claim_has_both_ranges_of_the_input() -> None:
    told = Nearest(forms=("pixel / 255",), distance=0.1, fed=0.5, tensors=16)
    table = FedTable(
        table="d" * 64, name="recorded", nearest=told, input_amax=1.0, input_fed=0.9961
    )
    (claim,) = table_claims([table])
    assert claim.concern is Concern.TABLE
    assert "its range of the network's input is 1, what was fed reaches 0.9961" in claim.text
    assert "fit pixel / 255 (off by 11 %), and not what was fed (off by 65 %)" in claim.text
    alike = Nearest(forms=("pixel / 255", AS_FED), distance=0.1, fed=0.12, tensors=16)
    assert (
        list(
            table_claims(
                [FedTable(table="d", name="r", nearest=alike, input_amax=None, input_fed=1)]
            )
        )
        == []
    )


def test_forms_that_are_one_are_tried_once() -> None:
    assert [form.name for form in forms(UNIT)] == [
        AS_FED,
        "(pixel − 127.5) / 127.5",
        "raw pixels, 0 to 255",
        "pixel / 255 with ImageNet's mean and deviation",
    ]
    grey = Pixels(scale=1.0, mean=(127.5,), std=(127.5,))
    assert [form.name for form in forms(grey)] == [AS_FED, "pixel / 255", "raw pixels, 0 to 255"]
    assert len(with_exchanged(forms(grey))) == 3
    assert len(with_exchanged(forms(UNIT))) == 8


@pytest.mark.parametrize("form", with_exchanged(forms(CENTRED)))
def test_a_form_gives_what_preprocessing_the_pixels_so_gives(form: PixelForm) -> None:
    image = pixels(3, 1)[0]
    ordered = image[..., ::-1] if form.exchanged else image
    np.testing.assert_allclose(
        form.of(CENTRED.value(image), CENTRED), form.pixels.value(ordered), atol=2e-3 * 255 / 128
    )
