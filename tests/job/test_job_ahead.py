"""The network runs one image ahead of what calibration counts: what fails there, in what order, in how much memory."""

import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from job import calibrate
from job.histogram import Histogram

TENSORS = ["t", "image"]


class Session:
    """Gives out what it was fed as `t`; keeps nothing of it, and says who still does."""

    def __init__(self, fails: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.fails = fails
        self.fed: list[float] = []
        self.threads: set[int] = set()
        self.alive = 0
        self.most = 0
        self.running = False

    def run(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        assert outputs == ["t"]
        assert not self.running, "an engine's context is no two threads'"
        self.running = True
        self.threads.add(threading.get_ident())
        number = len(self.fed)
        self.fed.append(float(inputs["image"][0, 0]))
        error = self.fails(number)
        self.running = False
        if error:
            raise error
        made = inputs["image"] + 0.0
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self.gone)
        return [made]

    def gone(self) -> None:
        self.alive -= 1


def images(number: int) -> np.ndarray:
    return np.arange(1, number + 1, dtype=np.float32).reshape(number, 1)


def counted(session: Session, number: int, shown: Callable[[str], None] = lambda _: None) -> None:
    calibrate.calibrate(session, "image", images(number), TENSORS, ["entropy"], shown)


def test_images_are_fed_and_counted_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image sets entropy's bins, so the order is part of the result, whoever is faster."""
    added: list[tuple[str, float]] = []
    add = Histogram.add

    def noted(histogram: Histogram, values: np.ndarray) -> None:
        added.append((histogram.tensor, float(values[0, 0])))
        add(histogram, values)

    monkeypatch.setattr(Histogram, "add", noted)
    session = Session()
    shown: list[str] = []
    counted(session, 5, shown.append)
    assert session.fed == [1, 2, 3, 4, 5]
    assert added == [(tensor, image) for image in range(1, 6) for tensor in TENSORS]
    assert shown == ["0/5", "1/5", "2/5", "3/5", "4/5"]
    assert session.threads == {threading.get_ident()}, (
        "a GPU is chosen for the thread that built the network"
    )


def test_the_next_image_runs_while_one_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both wait for each other: that ends only where they do so at the same time, and fails else."""
    started, entered = threading.Event(), threading.Event()

    class Ahead(Session):
        def run(self, inputs: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
            if inputs["image"][0, 0] == 2:
                started.set()
                assert entered.wait(30)
            return super().run(inputs, outputs)

    def waits(histogram: Histogram, values: np.ndarray) -> None:
        if values[0, 0] == 1:
            entered.set()
            assert started.wait(30)

    monkeypatch.setattr(Histogram, "add", waits)
    counted(Ahead(), 2)


@pytest.mark.parametrize("failing", [0, 1, 4])
def test_what_the_network_raises_is_raised_and_no_more_images_are_run(failing: int) -> None:
    before = threading.active_count()
    session = Session(lambda number: RuntimeError(f"image {number}") if number == failing else None)
    with pytest.raises(RuntimeError, match=f"image {failing}"):
        counted(session, 5)
    assert len(session.fed) == failing + 1
    assert threading.active_count() == before


def test_what_counting_raises_is_raised_when_the_network_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The session is closed behind it: nothing may run in it any more."""
    before, session = threading.active_count(), Session()

    def refuses(histogram: Histogram, values: np.ndarray) -> None:
        if values[0, 0] == 2:
            message = "tensor 't' holds NaN"
            raise ValueError(message)

    monkeypatch.setattr(Histogram, "add", refuses)
    with pytest.raises(ValueError, match="holds NaN"):
        counted(session, 50)
    assert session.fed == [1, 2, 3], "the one that ran meanwhile, and no other"
    assert threading.active_count() == before


def test_where_both_fail_the_earlier_image_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(histogram: Histogram, values: np.ndarray) -> None:
        message = "the first image's values"
        raise ValueError(message)

    monkeypatch.setattr(Histogram, "add", refuses)
    with pytest.raises(ValueError, match="the first image's values"):
        counted(Session(lambda number: RuntimeError("the second") if number else None), 3)


@pytest.mark.parametrize("number", [1, 2, 40])
def test_no_more_than_two_images_values_are_in_memory(number: int) -> None:
    session = Session()
    counted(session, number)
    assert session.most == min(number, 2)


def test_no_images_run_nothing() -> None:
    session = Session()
    counted(session, 0)
    assert session.fed == []
