"""Classes named in a config, with what only the data can tell put in by argument name.

A class is written as `{name: ViT, patch_size: 2}`. It cannot be Lightning's `class_path` and `init_args`: those are
instantiated while the command line is parsed, when the number of bands and the labels' frequencies are unknown.
"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from wherewhen.errors import UserError

Spec = dict[str, Any]  # "name", and the arguments


def build(spec: Mapping[str, Any], base: type, home: str, **found: Any) -> Any:
    """Make the object that a config describes.

    Args:
        spec: `name` is a name of the package `home` or an import path; the other keys are arguments.
        base: What the object must be.
        home: Package whose names need no path.
        found: Values that come from the data; a class takes those that its constructor names, unless the
            config gives them.

    Raises:
        UserError: No such class, not a `base`, or an argument that it does not have, still needs or cannot use.
    """
    given = dict(spec)
    cls = find(str(given.pop("name", "")), home, base)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{spec['name']!r} is no {base.__name__}; name a subclass of it")
    parameters = inspect.signature(cls).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    names = [name for name, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if not takes_any and (wrong := sorted(given.keys() - set(names))):
        raise UserError(f"{cls.__name__} has no argument {wrong[0]!r}; it has {', '.join(names)}")
    arguments = {name: value for name, value in found.items() if name in names} | given
    needed = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in arguments]
    if needed:
        raise UserError(f"{cls.__name__} needs {', '.join(needed)}; give it beside its name")
    try:
        return cls(**arguments)
    except UserError:
        raise
    except Exception as error:  # a class may be anybody's, and fail in any way at values of the wrong kind
        raise UserError(
            f"{cls.__name__} cannot be made with {given} ({type(error).__name__}: {error}); correct its arguments"
        ) from error


def find(path: str, home: str, base: type) -> Any:
    """The class at an import path, or of that name in `home`.

    Raises:
        UserError: It cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module or home), name)
    except (ImportError, AttributeError) as error:
        known = [
            n for n, v in vars(importlib.import_module(home)).items() if isinstance(v, type) and issubclass(v, base)
        ]
        raise UserError(
            f"there is no class {path!r} ({error}); give its import path as seen from here, or {', '.join(known)}"
        ) from error


def without(spec: Mapping[str, Any], argument: str) -> Spec:
    """The same description where no class is given an argument of this name, however deep it lies."""
    return {
        key: without(value, argument) if isinstance(value, Mapping) else value
        for key, value in spec.items()
        if key != argument
    }
