"""Semi-supervised learning: label spaces, algorithms, objectives."""

from wherewhen.semi.algorithm import Algorithm, Clock, Outputs, PseudoLabels
from wherewhen.semi.average import Average
from wherewhen.semi.fixmatch import FixMatch
from wherewhen.semi.objectives import Objective, SemiSupervised, SpatioTemporal, Supervised
from wherewhen.semi.spaces import UNKNOWN, Dense, LabelSpace, MultiLabel, SingleLabel
from wherewhen.semi.state import Running

__all__ = [
    "UNKNOWN",
    "Algorithm",
    "Average",
    "Clock",
    "Dense",
    "FixMatch",
    "LabelSpace",
    "MultiLabel",
    "Objective",
    "Outputs",
    "PseudoLabels",
    "Running",
    "SemiSupervised",
    "SingleLabel",
    "SpatioTemporal",
    "Supervised",
]
