"""What the documentation shows, runs."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.tasks.conftest import make_store, settings, write_config
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


def test_every_page_that_the_readme_links_exists() -> None:
    readme = DOCS.parent / "README.md"
    for link in re.findall(r"\]\(([^)#]+)\)", readme.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (readme.parent / link).exists(), link
