"""The command line: one line for a problem, an exit code for a program, and nothing heavy before it is asked for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

import hil.verbs
from hil import cli
from hil.verbs import VERBS, lineage
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.run import Run

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "design.toml"


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Namespace], int]], None]:
    """Installs a verb `probe` whose work is the function given."""
    def install(work: Callable[[Namespace], int]) -> None:
        module = types.ModuleType("probe_verb")
        vars(module).update(HELP="probe", run=work, add_arguments=lambda parser: parser.add_argument("--size", type=int))
        monkeypatch.setitem(sys.modules, "probe_verb", module)
        monkeypatch.setitem(hil.verbs.VERBS, "probe", "probe_verb")
    return install


def _raiser(error: BaseException) -> Callable[[Namespace], int]:
    def work(arguments: Namespace) -> int:
        raise error
    return work


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_keeps_the_contract(name: str) -> None:
    module = hil.verbs.load(name)
    parser = ArgumentParser()
    module.add_arguments(parser)
    assert module.HELP and "\n" not in module.HELP
    assert callable(module.run)
    assert all(action.help for action in parser._actions)


def test_arguments_and_exit_code_pass_through(verb: Callable[..., None]) -> None:
    verb(lambda arguments: arguments.size)
    assert cli.main(["probe", "--size", "7"]) == 7


def test_problem_is_one_line_and_2(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(_raiser(PrivcamError("too few people", got=1, allowed="2 or more", todo="add a folder")))
    assert cli.main(["probe"]) == cli.EXIT_PROBLEM == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "privcam: too few people; got: 1; allowed: 2 or more; what to do: add a folder\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_disk_that_refuses_is_one_line_and_2(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], number: int
) -> None:
    verb(_raiser(OSError(number, os.strerror(number), "runs/demo")))
    assert cli.main(["probe"]) == cli.EXIT_PROBLEM
    assert os.strerror(number) in capsys.readouterr().err


def test_other_system_errors_keep_their_traceback(verb: Callable[..., None]) -> None:
    verb(_raiser(FileNotFoundError(errno.ENOENT, "gone", "weights.safetensors")))
    with pytest.raises(FileNotFoundError):
        cli.main(["probe"])


@pytest.mark.parametrize("package, extra", [("torch.nn", "design"), ("onnxruntime", "attack")])
def test_missing_package_names_the_extra_and_3(
    verb: Callable[..., None], capsys: pytest.CaptureFixture[str], package: str, extra: str
) -> None:
    verb(_raiser(ModuleNotFoundError(f"No module named {package!r}", name=package)))
    assert cli.main(["probe"]) == cli.EXIT_MISSING_PACKAGE == 3
    assert f"privcam[{extra}]" in capsys.readouterr().err


def test_our_own_missing_module_is_a_fault_not_a_hint(verb: Callable[..., None]) -> None:
    verb(_raiser(ModuleNotFoundError("No module named 'optics_sim.gone'", name="optics_sim.gone")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["probe"])


def test_interrupt_says_how_to_go_on_and_130(verb: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    verb(_raiser(KeyboardInterrupt()))
    assert cli.main(["probe"]) == cli.EXIT_INTERRUPTED == 130
    assert "same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize("words, code, text", [
    (["--version"], 0, "privcam "), (["--help"], 0, "doctor"), (["bogus"], 2, "doctor"),
])
def test_words_that_are_no_verb(words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    out, err = capsys.readouterr()
    assert left.value.code == code
    assert text in out + err


def test_no_words_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in VERBS)


def test_closed_pipe_is_silent() -> None:
    code = "import sys; from hil.cli import main; raise SystemExit(main(sys.argv[1:]))"
    shell = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable!r} -c {code!r} lineage {str(EXAMPLE)!r} | sleep 0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )
    assert shell.stderr == ""


# --- sensors --------------------------------------------------------------------------------------
def test_sensors_print_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sensors", "imx477"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "libcamera" in lines["black_level_dn"]
    assert "assumed" in lines["prnu"]


def test_sensors_without_a_name_are_all_and_light() -> None:
    code = ("import sys; from hil.cli import main; main(['sensors']); "
            "raise SystemExit('torch' in sys.modules)")
    answer = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
                            capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in ("imx219", "imx477", "imx708", "imx296", "ov9281"))


def test_unknown_sensor_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sensors", "imx999"]) == 2
    assert "imx477" in capsys.readouterr().err


# --- lineage --------------------------------------------------------------------------------------
@pytest.fixture
def three(tmp_path: Path) -> list[CameraDesign]:
    """An author's design, its trained child and an as-built grandchild, each in its run folder."""
    author = CameraDesign.load(EXAMPLE)
    trained = author.replace(name="trained", **{"exposure.exposure_s": 0.01})
    built = trained.replace(name="as built", **{"optics.mask_to_sensor_m": 3.1e-3})
    for name, design in (("a", author), ("b", trained), ("c", built)):
        with Run(tmp_path / name, "design", {}):
            design.save(tmp_path / name / "design")
    return [built, trained, author]


def test_lineage_goes_back_to_the_author(three: list[CameraDesign], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lineage", str(tmp_path / "c")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [design.digest[:12] for design in three]
    assert all("[design: done]" in line for line in lines)


def test_lineage_says_where_it_ends(three: list[CameraDesign], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a" / "design" / "design.toml").unlink()
    assert cli.main(["lineage", str(tmp_path / "c")]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(three[-1].digest[:12]) and "--search" in last


def test_lineage_looks_where_it_is_told(three: list[CameraDesign], tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (tmp_path / "c").rename(elsewhere / "c")
    assert cli.main(["lineage", str(elsewhere / "c")]) == 1
    assert cli.main(["lineage", str(elsewhere / "c"), "--search", str(tmp_path)]) == 0


def test_lineage_passes_over_broken_files_and_sees_edits(
    three: list[CameraDesign], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "design.toml").write_text("name = ")
    file = tmp_path / "c" / "design" / "design.toml"
    file.write_text(file.read_text().replace("as built", "edited"))
    assert cli.main(["lineage", str(tmp_path / "c")]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert "edited after" in first
    assert not any("edited after" in line for line in others)


def test_lineage_of_nothing_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lineage", str(tmp_path)]) == 2
    assert "no design in this run" in capsys.readouterr().err
    with pytest.raises(PrivcamError):
        lineage.design_file(tmp_path / "nowhere")
