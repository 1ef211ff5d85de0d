"""What the documentation shows, runs."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen import semi
from wherewhen.cli import main

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def test_the_encoder_of_the_docs_trains_as_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_encoders.py").write_text(blocks("encoders.md", "python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_encoders", raising=False)
    config = settings(make_store(tmp_path / "store").path)
    config["model"] |= yaml.safe_load(blocks("encoders.md", "yaml")[0])["model"]
    path = write_config(tmp_path / "config.yaml", config)
    words = ["fit", "--config", str(path), "--run", str(tmp_path / "run"), "--model.encoder.width", "8"]
    assert main(words) == 0
    assert "width: 8" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")


def test_the_algorithm_of_the_docs_is_a_module_a_line_and_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, module, line, test = blocks("algorithms.md", "python")
    exec(outside, {})
    assert module.startswith("# src/wherewhen/semi/relative.py")
    (tmp_path / "relative.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(semi, "__path__", [*semi.__path__, str(tmp_path)])
    exec(line, vars(semi))
    try:
        names: dict[str, Any] = {}
        exec(test, names)
        names["test_believed_is_what_reaches_a_share_of_the_labelled_confidence"]()
        config = settings(make_store(tmp_path / "store").path)
        config["model"] |= yaml.safe_load(blocks("algorithms.md", "yaml")[0])["model"]
        words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")]
        assert main(["fit", *words]) == 0
        assert main(["test", *words]) == 0
        assert "share: 0.8" in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    finally:
        vars(semi).pop("Relative")
        vars(semi).pop("relative", None)
        sys.modules.pop("wherewhen.semi.relative")


def test_every_page_that_the_readme_links_exists() -> None:
    readme = DOCS.parent / "README.md"
    for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (readme.parent / link).exists(), link
