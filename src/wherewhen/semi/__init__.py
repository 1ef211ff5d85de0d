"""Semi-supervised learning: label spaces, algorithms, objectives."""

from wherewhen.semi.algorithm import Algorithm, Clock, Outputs, PseudoLabels
from wherewhen.semi.average import Average
from wherewhen.semi.cap import CAP
from wherewhen.semi.cdmad import CDMAD
from wherewhen.semi.defixmatch import DeFixMatch
from wherewhen.semi.fixmatch import FixMatch
from wherewhen.semi.freematch import FreeMatch
from wherewhen.semi.objectives import Objective, SemiSupervised, SpatioTemporal, Supervised
from wherewhen.semi.pixel_loss import DenseLoss, PixelLoss
from wherewhen.semi.softmatch import SoftMatch
from wherewhen.semi.spaces import UNKNOWN, Dense, LabelSpace, MultiLabel, SingleLabel
from wherewhen.semi.state import Queue, Running, State
from wherewhen.semi.udal import UDAL

__all__ = [
    "CAP",
    "CDMAD",
    "UDAL",
    "UNKNOWN",
    "Algorithm",
    "Average",
    "Clock",
    "DeFixMatch",
    "Dense",
    "DenseLoss",
    "FixMatch",
    "FreeMatch",
    "LabelSpace",
    "MultiLabel",
    "Objective",
    "Outputs",
    "PixelLoss",
    "PseudoLabels",
    "Queue",
    "Running",
    "SemiSupervised",
    "SingleLabel",
    "SoftMatch",
    "SpatioTemporal",
    "State",
    "Supervised",
]
