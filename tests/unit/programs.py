"""Programs that tests run to their end."""

import subprocess
from pathlib import Path
from typing import Any


def ran(
    *command: str | Path, code: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Returns what a program said, as text; its exit code is `code`, None where the test looks at it itself."""
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, **options
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done
