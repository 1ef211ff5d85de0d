"""A run folder that is also in a bucket, for machines that may be taken away in the middle of a training."""

from collections.abc import Sequence
from dataclasses import dataclass

from wherewhen import buckets
from wherewhen.errors import UserError, note
from wherewhen.tasks.configured import said
from wherewhen.tasks.run import Run, settings


@dataclass(frozen=True)
class Mirror:
    """A run here and in a bucket.

    Args:
        run: Here.
        url: There, `s3://BUCKET/FOLDER`.

    Raises:
        UserError: The URL is none of a bucket.
    """

    run: Run
    url: str

    def __post_init__(self) -> None:
        if not buckets.is_bucket(self.url):
            raise UserError(f"--mirror is {self.url!r}; give a folder in a bucket, such as s3://archive/runs/first")

    def fetch(self) -> None:
        """Bring what is there, unless a training goes on from what is here.

        Raises:
            UserError: The bucket does not answer, or holds another run, or a file came out damaged.
        """
        bucket, config = buckets.Bucket(self.url), self.run.config
        there = bucket.files()
        if not self.run.last.is_file():
            if there:
                buckets.copy(self.url, str(self.run.folder))
        elif config.name in there and settings(bucket.text(config.name)) != settings(config.read_text("utf-8")):
            raise UserError(f"{self.url} holds another run than {self.run.folder}; give another --mirror")

    def send(self) -> None:
        """Bring there what is new here.

        Raises:
            UserError: The bucket does not answer, or holds another run.
        """
        buckets.copy(str(self.run.folder), self.url)

    def try_to_send(self) -> None:
        """The same, in the middle of a training, which a bucket that does not answer must not end."""
        try:
            self.send()
        except UserError as error:
            note(f"{error}; the training goes on, and the next checkpoint is sent")


def fetched(words: Sequence[str]) -> Sequence[str]:
    """The words of a command line, after what they say is mirrored was brought here.

    Raises:
        UserError: As of `Mirror`.
    """
    wanted = said(words)
    if wanted.mirror is not None:
        Mirror(Run(wanted.run), wanted.mirror).fetch()
    return words
