"""Damage, as strategies of Hypothesis: bytes with bits flipped, cut or put in, and values of JSON replaced."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**40, 1e308, float("nan"), -5.5, "", "1", "x", "𝕏", "a" * 300, "two\nlines"),
    *("../../x", "/etc/passwd", [], [1], [None], [[]], {}, {"a": 1}),
)
_RUNS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")


@st.composite
def damaged(draw: Callable[[st.SearchStrategy[Any]], Any], whole: bytes) -> bytes:
    """The bytes of a file after one to six accidents, of which most lie near its ends, where heads of formats are."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        place = draw(st.one_of(st.integers(0, 400), st.integers(-400, -1), st.integers(0, len(data) - 1)))
        place = max(0, min(len(data) - 1, place % len(data) if place < 0 else place))
        match draw(st.sampled_from(("flip", "flip", "byte", "run", "cut", "lose", "insert"))):
            case "flip":
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                data[place] = draw(st.integers(0, 255))
            case "run":
                data[place : place + 4] = draw(st.sampled_from(_RUNS))
            case "cut":
                del data[place:]
            case "lose":
                del data[place : place + draw(st.integers(1, 50))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


@st.composite
def replaced(draw: Callable[[st.SearchStrategy[Any]], Any], whole: Any) -> Any:
    """A value of JSON of which one to three parts are missing, doubled, or something else."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        parent: Any = None
        key: Any = None
        node = value
        while isinstance(node, dict | list) and node and (parent is None or draw(st.integers(0, 3))):
            keys = sorted(node, key=str) if isinstance(node, dict) else range(len(node))
            parent, key = node, draw(st.sampled_from(keys))
            node = parent[key]
        if parent is None:
            return draw(st.sampled_from(ODD))
        match draw(st.sampled_from(("other", "other", "other", "missing", "twice"))):
            case "missing":
                del parent[key]
            case "twice" if isinstance(parent, list):
                parent.append(copy.deepcopy(node))
            case _:
                parent[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return value
