"""The command line: a table of verbs, each imported only when it is called."""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from wherewhen import __version__
from wherewhen.errors import UserError

# verb -> (module, function taking the remaining arguments and returning the exit code, what it does)
VERBS = {
    "demo": ("wherewhen.demo", "main", "train supervised, FixMatch and ST-SSL on one label budget, and compare"),
    "prepare": ("wherewhen.prepare", "main", "turn a dataset into a store of patches"),
    "doctor": ("wherewhen.doctor", "main", "say what is in a store, and what is wrong with it"),
    "init": ("wherewhen.init", "main", "a configuration for the store at hand, with a word on every choice"),
    "pretrain": ("wherewhen.tasks.pretrain_verb", "pretrain", "train an encoder on places and dates, without labels"),
    "fit": ("wherewhen.tasks.verbs", "fit", "train, or go on with an interrupted training"),
    "adopt": ("wherewhen.tasks.adopt", "main", "a published whole model as a run, to be tested and shown"),
    "validate": ("wherewhen.tasks.verbs", "validate", "metrics on the held-out part of the training split"),
    "test": ("wherewhen.tasks.verbs", "test", "metrics on the test split, from images alone"),
    "export": ("wherewhen.export", "main", "the student as one file: safetensors, ONNX or torch-export"),
    "experiment": ("wherewhen.experiments.verb", "main", "many trainings, one answer: a leaderboard, a paper's table"),
    "analyse": ("wherewhen.analyse.verb", "main", "pictures and tables of finished runs, and the metadata audit"),
    "report": ("wherewhen.report.verb", "main", "finished runs as one page that opens without network"),
    "predict": ("wherewhen.predict.verb", "main", "maps of scenes, or a table of patches, from images alone"),
    "suggest": ("wherewhen.suggest", "main", "which unlabelled patches to label next"),
    "copy": ("wherewhen.buckets", "main", "a store, run or folder of scenes into a bucket, or out of one"),
    "assess": ("wherewhen.assess.verb", "main", "accuracy and area of a map from reference points; draw such points"),
}

USAGE = """\
usage: wherewhen VERB ... [--debug]
       wherewhen --version

Turn a satellite archive and a handful of labels into a model that needs the image alone.

verbs:
{verbs}

`wherewhen VERB --help` tells more. Exit codes: 0 done, 1 something is wrong with the data,
2 a mistake in the call or the input, 130 interrupted. --debug shows the traceback of an error.
"""

OUT_OF_MEMORY = (
    "the device's memory is full; look at fewer images at a time (data.eval_batch of fit, validate and test; "
    "--batch or --window of predict), or on another device"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if words else 2
    if words[0] == "--version":
        print(f"wherewhen {__version__}")
        return 0
    if words[0] not in VERBS:
        print(f"wherewhen: there is no verb {words[0]!r}; choose one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    module, function, _ = VERBS[words[0]]
    try:
        return int(getattr(import_module(module), function)(words[1:]))
    except Exception as error:
        if (message := for_the_user(error)) is None:
            raise
        if debug:
            traceback.print_exc()
        print(f"wherewhen: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("wherewhen: interrupted; the same command goes on from where it was", file=sys.stderr)
        return 130


def for_the_user(error: Exception) -> str | None:
    """What to say of an error that a user can mend, or whose machine is in the way; None of our own."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{UserError(str(error))}; check that path, your rights there, and the disk"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return OUT_OF_MEMORY
    return None


def usage() -> str:
    """The help text."""
    return USAGE.format(verbs="\n".join(f"  {name:<12}{what}" for name, (_, _, what) in VERBS.items()))


if __name__ == "__main__":
    sys.exit(main())
