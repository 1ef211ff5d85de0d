"""`wherewhen analyse NAME …`: pictures and tables of finished runs."""

from collections.abc import Sequence

from wherewhen import subcommands

# An analysis is a module of this package with `add_arguments(parser)` and `run(args)`, imported when asked for.
ANALYSES = {
    "patches": "a contact sheet of a store: pictures, dates, places, masks",
    "pictures": "segmentation or change of test patches: image, truth, and the maps of several runs",
    "texture": "bands of some patches, and the local binary patterns of each below",
    "space": "features of trained and pre-trained encoders in two dimensions, by class and by band group",
    "prior": "what the teacher expects where and when, before it has seen anything",
    "map": "where a class is, and where FixMatch, teacher and student see it",
    "pseudo-labels": "how right and how many pseudo-labels were, through the training",
    "metadata": "how much the teacher leans on place and time, and that the student does not",
}


def main(argv: Sequence[str]) -> int:
    """Run the named analysis.

    Raises:
        UserError: Something in the call cannot work.
    """
    args = subcommands.parse(argv, "analyse", __doc__, "NAME", "wherewhen.analyse", ANALYSES)
    args.run(args)
    return 0
