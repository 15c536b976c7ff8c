"""All that was computed of the calibration set, as one report: what is wrong, what was looked at, what not."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trt_matrix.core.calibration.curve import Curve
from trt_matrix.core.calibration.fed import Channel
from trt_matrix.core.calibration.preprocessings import Nearest
from trt_matrix.core.calibration.ranges import Decider, Unseen
from trt_matrix.core.calibration.sizes import Size


class Concern(StrEnum):
    """What can be wrong with a calibration set; in the order in which a person must deal with it."""

    PREPROCESSING = "preprocessing"
    TABLE = "table"
    OTHER_IMAGES = "other_images"
    EXCHANGED = "exchanged"
    FLAT = "flat"
    SIZES = "sizes"
    UNSEEN = "unseen"
    DECIDER = "decider"
    CURVE = "curve"
    SCENES = "scenes"
    OVERLAP = "overlap"
    ORDER = "order"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One thing that is wrong, or may be."""

    concern: Concern
    text: str
    """What was computed, a sentence or two."""
    advice: str
    """What to do; empty where nothing is to be done."""
    hint: bool = False
    """Whether other causes are as likely."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlikePair:
    """An evaluation image and the calibration image that is nearly the same picture."""

    calibration: str
    """File name."""
    evaluation: str
    cosine: float
    mirrored: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What the choice of calibration images costs one head, in exact arithmetic."""

    head: str
    algorithm: str
    kept_db: float
    """SQNR with the table of the calibration images."""
    possible_db: float
    """The same with a table by the same algorithm of the evaluation images themselves."""

    @property
    def loss_db(self) -> float:
        return self.possible_db - self.kept_db


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What the float network finds in the evaluation images, preprocessed in one way."""

    form: str
    ap50: float
    better_by: float | None
    """Least by which AP50 is above that of what was fed, 95 %; None for that itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutImage:
    """What the shared algorithm's table keeps where one image is left out."""

    decider: Decider
    image: str
    """Its file name."""
    gains_db: tuple[tuple[str, float], ...]
    """(head, SQNR without it less SQNR with it), the largest change first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FedTable:
    """A table that another program made, against what was fed here."""

    table: str
    """Digest."""
    name: str
    nearest: Nearest
    input_amax: float | None
    """Its range of the network's input; None where it has none."""
    input_fed: float
    """Largest magnitude that was fed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationReport:
    """Of lists the first entries, the worst; their lengths stand beside them."""

    images: int
    evaluation_images: int
    costs: tuple[Cost, ...] = ()
    """By head; heads without a simulation of both tables are left out."""
    claims: tuple[Claim, ...] = ()
    well: tuple[str, ...] = ()
    """What was looked at, and nothing found."""
    unknown: tuple[str, ...] = ()
    """What was not looked at, and why."""
    pairs: tuple[AlikePair, ...] = ()
    pairs_in_all: int = 0
    channels: tuple[Channel, ...] = ()
    """Of the calibration images, as fed."""
    evaluation_channels: tuple[Channel, ...] = ()
    tensors: int = 0
    """Whose largest magnitudes are known of every image."""
    unseen: tuple[Unseen, ...] = ()
    unseen_in_all: int = 0
    deciders: tuple[tuple[str, Decider], ...] = ()
    """(file name, what it decides)."""
    without: tuple[LeftOutImage, ...] = ()
    sizes: tuple[Size, ...] = ()
    sizes_of: str = ""
    curves: tuple[Curve, ...] = ()
    orders_db: tuple[tuple[str, float], ...] = ()
    """(head, the most that other orders of the same images move it); empty where none was tried."""
    algorithm: str | None = None
    """Of `curves`, `orders_db` and `without`."""
    notes: tuple[str, ...] = ()
    """What is to be known of how tables were made."""
    tables: tuple[FedTable, ...] = ()
    trials: tuple[Trial, ...] = ()

    def said(self, *, hints: bool = True) -> Sequence[Claim]:
        """Returns the claims in their order."""
        order = list(Concern)
        return sorted(
            (claim for claim in self.claims if hints or not claim.hint),
            key=lambda claim: (claim.hint, order.index(claim.concern)),
        )
