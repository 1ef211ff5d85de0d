"""Label-efficient learning for Earth observation: a teacher that knows where and when, a student that need not."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wherewhen.bands import Band, Sensor, load_sensor
    from wherewhen.encoders import Learner, MetadataEncoder, ViT
    from wherewhen.errors import UserError
    from wherewhen.scale import Scale
    from wherewhen.semi import FixMatch, SemiSupervised, SpatioTemporal
    from wherewhen.store import PatchStore
    from wherewhen.student import Student, load
    from wherewhen.views import Views

_HOMES = {
    "Band": "bands",
    "FixMatch": "semi",
    "Learner": "encoders",
    "MetadataEncoder": "encoders",
    "PatchStore": "store",
    "Scale": "scale",
    "SemiSupervised": "semi",
    "Sensor": "bands",
    "SpatioTemporal": "semi",
    "Student": "student",
    "UserError": "errors",
    "ViT": "encoders",
    "Views": "views",
    "load": "student",
    "load_sensor": "bands",
}

__version__ = "0.1.0"
__all__ = [
    "Band",
    "FixMatch",
    "Learner",
    "MetadataEncoder",
    "PatchStore",
    "Scale",
    "SemiSupervised",
    "Sensor",
    "SpatioTemporal",
    "Student",
    "UserError",
    "ViT",
    "Views",
    "load",
    "load_sensor",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `wherewhen --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wherewhen' has no attribute {name!r}")
    return getattr(import_module(f"wherewhen.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
