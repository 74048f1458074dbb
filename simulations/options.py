"""What several of the lab's commands are told in the same way, and refuse before they have worked for hours."""

from pathlib import Path
from tempfile import TemporaryFile

import click


def processes(_context: click.Context, _option: click.Parameter, jobs: int) -> int:
    """Return *jobs*, as joblib counts them: -1 for one a core. Raises: click.BadParameter for none."""
    if jobs == 0:
        raise click.BadParameter("0, expected 1 or more, or -1 for one a core")
    return jobs


def make_folder(out: Path) -> None:
    """Make the folder of results. Raises: click.UsageError if that is impossible, or nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise click.UsageError(f"--out {out}: {error.strerror}") from None
