"""The laws of the house, checked on its text: one import direction, light rooms, no hidden randomness, no pickle, true docs."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("optics_sim", "firmware_export", "hil", "calibration", "benchmarks", "docs")
SOURCES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False, timeout=300)


# --- imports --------------------------------------------------------------------------------------
def test_import_contracts_are_kept() -> None:
    answer = _python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("module", [
    "optics_sim.design", "optics_sim.frame", "optics_sim.measure", "optics_sim.run", "optics_sim.errors", "calibration",
    "calibration.photon_transfer", "calibration.masters", "calibration.datasheet",
    "calibration.ladder", "calibration.psf", "calibration.paired_psf", "calibration.separable",
    "calibration.homography", "calibration.timing",
    "hil.cli", "hil.verbs.doctor", "hil.verbs.lineage", "hil.verbs.sensors", "hil.verbs.study", "hil.verbs.design",
    "hil.verbs.table", "hil.verbs.snapshot", "hil.verbs.export", "firmware_export.masks.export", "firmware_export.masks.rules",
    "optics_sim.encoding", "optics_sim.encoders.bdq_int", "optics_sim.encoders.cost",
    "hil.protocols", "hil.devices.serial_device", "hil.devices.emulated_board", "firmware_export.images",
    "firmware_export.int8", "firmware_export.tflite", "firmware_export.c_code", "firmware_export.c_host", "firmware_export.bdq_graph",
    "firmware_export.golden", "firmware_export.tflite_encoder", "hil.devices.host_encoder", "firmware_export.quantise",
    "firmware_export.package", "optics_sim.network_folding", "optics_sim.network_scales",
    "hil.capture_set.writer", "hil.capture_set.packed", "hil.cameras.world", "hil.cameras.replay", "hil.cameras.folder", "hil.cameras.v4l2",
    "optics_sim.shots", "hil.rigs.simulated", "hil.rigs.screen", "hil.rigs.scpi", "hil.rigs.gcode",
    "hil.rigs.micropython", "hil.rigs.person",
    "hil.verbs.agent", "hil.agent.serve", "hil.bench", "hil.cameras.remote", "hil.rigs.remote",
])
def test_light_modules_never_load_torch(module: str) -> None:
    answer = _python(f"import sys, {module}; raise SystemExit(any(m in sys.modules for m in ('torch', 'matplotlib')))")
    assert answer.returncode == 0, f"{module} loads torch or matplotlib\n{answer.stderr}"


# --- randomness and pickle ------------------------------------------------------------------------
_NUMPY_GENERATORS = {"default_rng", "Generator", "PCG64", "SeedSequence", "Philox", "SFC64", "MT19937", "BitGenerator"}
_TORCH_GLOBAL = {"manual_seed", "seed", "initial_seed", "manual_seed_all", "set_rng_state", "fork_rng"}
_TORCH_DRAWS = {
    "rand", "randn", "randint", "randperm", "normal", "bernoulli", "poisson", "multinomial", "rand_like", "randn_like",
    "randint_like",
}
_IN_PLACE_DRAWS = {
    "normal_", "uniform_", "bernoulli_", "random_", "exponential_", "geometric_", "cauchy_", "log_normal_", "trunc_normal_",
    "kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_", "orthogonal_",
}
_PICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def faults(code: str) -> list[str]:
    """Returns every use of a global generator or of pickle in a source text, as `line: call`."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and (name := _call_fault(node)):
            found.append(f"{node.lineno}: {name}")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [f"{node.lineno}: import {module}" for module in _bad_imports(node)]
    return found


def _bad_imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == "numpy.random":
        return sorted(set(names) - _NUMPY_GENERATORS)
    modules = names if isinstance(node, ast.Import) else [node.module or ""]
    return [module for module in modules if module.split(".")[0] in _PICKLERS | {"random"}]


def _call_fault(call: ast.Call) -> str | None:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    on_torch = name.startswith("torch.") and "(" not in name  # torch.Generator().manual_seed is a method of ours
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    pickle_on = isinstance(allow := keywords.get("allow_pickle"), ast.Constant) and allow.value is True
    unseeded = last == "default_rng" and not call.args and not call.keywords
    on_numpy = name.startswith(("np.random.", "numpy.random.")) and "(" not in name  # a method of a generator is ours
    numpy_global = on_numpy and last not in _NUMPY_GENERATORS
    torch_global = on_torch and last in _TORCH_GLOBAL
    torch_pickle = name in ("torch.load", "torch.save")
    draw = last in _IN_PLACE_DRAWS or (on_torch and last in _TORCH_DRAWS)
    silent_draw = draw and "generator" not in keywords
    return name if pickle_on or unseeded or numpy_global or torch_global or torch_pickle or silent_draw else None


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_global_randomness_and_no_pickle(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("code", [
    "np.random.rand(3)", "numpy.random.seed(0)", "np.random.default_rng()", "import random", "from random import shuffle",
    "from numpy.random import rand", "torch.manual_seed(0)", "torch.cuda.manual_seed_all(0)", "torch.rand(3)", "torch.randn(3)",
    "torch.normal(0.0, 1.0, (3,))", "torch.poisson(rate)", "torch.randn_like(x)", "x.normal_()", "nn.init.kaiming_normal_(w)",
    "torch.load('w.pt')", "torch.save(x, 'w.pt')", "import pickle", "from joblib import dump",
    "torch.random.fork_rng()", "np.load('x.npy', allow_pickle=True)", "np.random.default_rng().random(3)",
])
def test_the_check_sees(code: str) -> None:
    assert len(faults(code)) == 1


@pytest.mark.parametrize("code", [
    "np.random.default_rng(seed)", "rng.normal(0, 1, 3)", "torch.rand(3, generator=generator)",
    "torch.Generator('cpu').manual_seed(0)", "from numpy.random import Generator",
    "x.normal_(generator=generator)", "torch.poisson(rate, generator=generator)", "np.load('x.npy', allow_pickle=False)",
    "np.random.Generator(np.random.PCG64(seed))", "np.random.default_rng(seed).random(3)", "torch.zeros(3)",
])
def test_the_check_lets_pass(code: str) -> None:
    assert faults(code) == []


# --- documentation --------------------------------------------------------------------------------
def _blocks(page: Path) -> Iterator[str]:
    yield from re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if any(_blocks(page))], ids=lambda page: str(page.relative_to(ROOT)))
def test_python_in_the_docs_runs(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    answer = _python("\n".join(_blocks(page)), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def _build() -> ModuleType:
    specification = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    build = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = build  # dataclasses look their module up
    specification.loader.exec_module(build)
    return build


@pytest.mark.parametrize("name", ["design-file.md", "experiment-file.md", "mask-options-file.md", "mask-process-file.md",
                                  "bench-file.md", "plan-file.md"])
def test_generated_page_is_up_to_date(name: str) -> None:
    build = _build()
    page = next(page for page in build.PAGES if page.target.name == name)
    assert page.target.read_text(encoding="utf-8") == page.text(), "run `make docs`"
    silent = [f"{place}.{field}" for place, model in build.models(page.model)
              for field, info in model.model_fields.items() if field != "kind" and not info.description]
    assert silent == [], "say in the model what these fields mean"


def test_example_experiment_is_whole_and_equals_the_defaults() -> None:
    from optics_sim.experiment import Experiment
    file = ROOT / "examples" / "experiment.toml"
    assert Experiment.load(file) == Experiment()
    written, whole = (set(_paths(tomllib.loads(text))) for text in (file.read_text(encoding="utf-8"), Experiment().to_toml()))
    assert written == whole, "the example names every field"


def _paths(table: dict[str, object], place: str = "") -> Iterator[str]:
    for key, value in table.items():
        yield from _paths(value, f"{place}{key}.") if isinstance(value, dict) else [f"{place}{key}"]


def test_conventions_name_tests_that_exist() -> None:
    page = ROOT / "docs" / "conventions.md"
    named = set(re.findall(r"`(tests/test_\w+\.py)`", page.read_text(encoding="utf-8")))
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
