from wherewhen.build import without


def test_an_argument_is_left_out_however_deep_it_lies() -> None:
    spec = {"name": "A", "weights": "x", "encoder": {"name": "B", "weights": "y", "encoder": {"weights": "z", "k": 1}}}
    assert without(spec, "weights") == {"name": "A", "encoder": {"name": "B", "encoder": {"k": 1}}}
    assert spec["weights"] == "x"
