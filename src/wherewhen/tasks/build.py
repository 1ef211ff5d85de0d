"""Classes named in a config, with what only the data can tell put in by argument name."""

import importlib
import inspect
from typing import Any, TypedDict

from wherewhen.errors import UserError


class Spec(TypedDict, total=False):
    """Lightning's convention for "this class with these arguments"."""

    class_path: str
    init_args: dict[str, Any]


def build(spec: Spec, base: type, home: str, **found: Any) -> Any:
    """Make the object that a config describes.

    Args:
        spec: `class_path` is an import path, or a name of the package `home`; `init_args` its arguments.
        base: What the object must be.
        home: Package whose names need no path.
        found: Values that come from the data; each class takes those that its constructor names.

    Raises:
        UserError: No such class, not a `base`, or an argument that it does not have or still needs.
    """
    if unknown := set(spec) - {"class_path", "init_args"}:
        raise UserError(f"{sorted(unknown)} mean nothing in {spec}; a class has class_path and init_args")
    cls = find(spec.get("class_path", ""), home)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{spec.get('class_path')!r} is not a {base.__name__}; name a subclass of it")
    given = dict(spec.get("init_args") or {})
    parameters = inspect.signature(cls).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    names = [name for name, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if not takes_any and (wrong := sorted(set(given) - set(names))):
        raise UserError(f"{cls.__name__} has no argument {wrong[0]!r}; it has {', '.join(names)}")
    arguments = {name: value for name, value in found.items() if name in names} | given
    needed = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in arguments]
    if needed:
        raise UserError(f"{cls.__name__} needs {', '.join(needed)}; give it under init_args")
    return cls(**arguments)


def find(path: str, home: str) -> Any:
    """The class at an import path, or of that name in `home`.

    Raises:
        UserError: It cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module or home), name)
    except (ImportError, AttributeError) as error:
        known = sorted(n for n in importlib.import_module(home).__all__ if n[0].isupper())
        raise UserError(
            f"no class {path!r} ({error}); give an import path, or one of {home}: {', '.join(known)}"
        ) from error
