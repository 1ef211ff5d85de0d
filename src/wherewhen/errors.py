"""What is said to a user on stderr: the one exception for what can be mended, and notes on the way."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake in input, configuration or environment that the user can mend.

    The message names the file or value, the rule it breaks, and the remedy. It is one line, whatever libraries say in
    it. The command line prints it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Within, what a file tells is read: a UserError about that names the file."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from error


@contextmanager
def described_by(path: Path | str, remedy: str) -> Iterator[None]:
    """Within, something is made as a file describes it: whatever fails is the file's, in a UserError that names it.

    Args:
        path: The file.
        remedy: What to do about it.
    """
    try:
        with naming(path):
            yield
    except UserError:
        raise
    except Exception as error:  # a description can be wrong in any way
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} describes nothing that can be made ({reason}); {remedy}") from error


def note(text: str) -> None:
    """Say what a user should know, though nothing is wrong."""
    print(f"note: {text}", file=sys.stderr)
