"""What the loop tells while it works; how it is shown is the console's business."""

from collections.abc import Callable
from typing import Protocol

from trt_matrix.core.cells import Status

Stage = Callable[[str, str], None]
"""`Progress.stage`, for what tells nothing else."""


def untold(where: str, stage: str) -> None:
    """Takes a stage that nobody is shown."""


class Progress(Protocol):
    """Every method may be called from several threads."""

    def note(self, text: str) -> None:
        """Tells something that needs no answer."""
        ...

    def warn(self, text: str) -> None:
        """Tells something that the user should look at."""
        ...

    def expect(self, steps: int) -> None:
        """Says how many more steps there are to come; a negative number takes some back."""
        ...

    def stage(self, where: str, stage: str) -> None:
        """Says what is being done there now, as often as one likes; at several places at once."""
        ...

    def ended(self, where: str) -> None:
        """Says that nothing is being done there any more."""
        ...

    def transfer(self, what: str, done: int, total: int) -> None:
        """Says how many bytes of something large are here, as often as one likes."""
        ...

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        """Ends one or more steps; those that were `reused` took no time."""
        ...
