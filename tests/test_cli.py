import subprocess
import sys
from importlib.metadata import version

import pytest

import wherewhen
from wherewhen import cli
from wherewhen.errors import UserError


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_lists_every_verb_and_imports_nothing_heavy() -> None:
    out = python(
        "import sys; from wherewhen.cli import main; code = main(['--help']);"
        "print(code, [m for m in ('torch', 'numpy', 'pandas', 'lightning', 'matplotlib') if m in sys.modules])"
    )
    assert out.endswith("0 []\n")
    assert all(f"  {verb} " in out for verb in cli.VERBS)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "wherewhen", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == cli.usage()


def test_public_names_need_no_heavy_extra() -> None:
    out = python(
        "import sys, wherewhen, wherewhen.semi, wherewhen.encoders, wherewhen.views, wherewhen.world;"
        "[getattr(wherewhen, name) for name in wherewhen.__all__];"
        "print([m for m in ('rasterio', 'geopandas', 'kornia', 'lightning', 'pytorch_lightning') if m in sys.modules])"
    )
    assert out == "[]\n"


def test_light_verbs_do_not_import_lightning() -> None:
    out = python(
        "import sys, wherewhen.prepare, wherewhen.doctor, wherewhen.ingest.eurosat, wherewhen.ingest.world;"
        "print('lightning' in sys.modules)"
    )
    assert out == "False\n"


def test_every_public_name_is_found_and_others_are_not() -> None:
    assert set(wherewhen.__all__) == set(wherewhen._HOMES)
    assert set(wherewhen.__all__) <= set(dir(wherewhen))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = wherewhen.nothing


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"wherewhen {version('wherewhen')}\n"


def test_unknown_verbs_and_no_verb_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretend"]) == 2
    assert "there is no verb 'pretend'" in capsys.readouterr().err
    assert cli.main([]) == 2


def test_a_users_mistake_is_one_line_and_a_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise UserError("x is 3; it must be 4; write 4")

    monkeypatch.setattr("wherewhen.doctor.main", fail)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "wherewhen: x is 3; it must be 4; write 4\n"
    assert cli.main(["doctor", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("wherewhen.doctor.main", stop)
    assert cli.main(["doctor"]) == 130
    assert "same command" in capsys.readouterr().err
