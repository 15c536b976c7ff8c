"""What the loop tells while it works; how it is shown is the console's business."""

from typing import Protocol

from runner.plan import Status


class Progress(Protocol):
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
        """Says what is being done now, as often as one likes."""
        ...

    def transfer(self, what: str, done: int, total: int) -> None:
        """Says how many bytes of something large are here, as often as one likes."""
        ...

    def done(
        self, what: str, status: Status, detail: str, *, steps: int = 1, reused: bool = False
    ) -> None:
        """Ends one or more steps; those that were `reused` took no time."""
        ...
