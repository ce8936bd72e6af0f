"""What every script imports before it answers --help or a typo, and what that help begins with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Packages that take a second each, or more, and that no option's description needs.
SLOW = {
    *("torchvision", "torch._dynamo", "sympy", "triton", "torch_fidelity"),
    *("tensorboard", "scipy.stats", "scipy.signal", "sklearn", "pandas", "matplotlib", "skimage"),
    *("mediapipe", "face_alignment", "librosa", "dtw", "python_speech_features"),
    *("transformers", "tokenizers", "timm", "open_clip"),
}
TOP = ("generate.py --help", "test.py --help", "demo.py --help", "test.py weights --help")
TYPOS = ("generate.py evpp", "test.py rum", "demo.py")
WITHOUT_TORCH = (*TOP, *TYPOS, "data_prep.prepare --help")
SUBCOMMANDS = (
    *(f"generate.py {name} --help" for name in ("evp", "fomm", "eamm")),
    *(
        f"test.py {name} --help"
        for name in ("check", "run", "table", "controls", "ablate", "user-study")
    ),
)


def modules():
    """Every module with a command line of its own, as `python -m` names it."""
    for package in ("data_prep", "evp", "eamm", "emospace", "affekt"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if '__name__ == "__main__"' in text and path.stem != "doctor":
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


SCRIPTS = [path.name for path in sorted(ROOT.glob("*.py"))]
COMMANDS = [
    *WITHOUT_TORCH,
    *SUBCOMMANDS,
    *(f"{name} --help" for name in (*SCRIPTS, *modules())),
]
# Runs all commands in one process, so that torch is imported once; those without it come first.
PROBE = """
import contextlib, io, json, runpy, sys
commands, found = sys.argv[1:], {}
for command in commands:
    name, *rest = command.split()
    before, printed = set(sys.modules), io.StringIO()
    sys.argv = [name, *rest]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        with contextlib.suppress(SystemExit):
            if name.endswith(".py"):
                runpy.run_path(name, run_name="__main__")
            else:
                runpy.run_module(name, run_name="__main__", alter_sys=True)
    found[command] = [sorted(sys.modules.keys() - before), printed.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers():
    """Of every command, the modules that no command before it had imported, and its output."""
    commands = list(dict.fromkeys(COMMANDS))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *commands],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_no_help_imports_what_takes_seconds(answers):
    slow = {command: sorted(SLOW.intersection(new)) for command, (new, _) in answers.items()}
    assert not {command: names for command, names in slow.items() if names}


def test_an_evaluation_imports_its_metrics_as_they_are_measured(answers):
    # Of a cached one nothing is measured; scipy.stats alone is needed, by the tables' intervals
    new = {name for command in SUBCOMMANDS for name in answers[command][0]}
    assert "affekt.evaluation.measures" in new
    assert not {"affekt.metrics.image", "affekt.metrics.fid"} & new


@pytest.mark.parametrize("command", WITHOUT_TORCH)
def test_help_and_typos_are_answered_without_torch(answers, command):
    assert "torch" not in answers[command][0]


def test_torch_is_seen_where_it_is_imported(answers):
    assert any("torch" in new for new, _ in answers.values())


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.endswith("--help")])
def test_help_begins_with_an_example(answers, command):
    name = command.removesuffix(" --help")
    program = f"python {name}" if name.split()[0].endswith(".py") else f"python -m {name}"
    text = answers[command][1]
    _, found, _ = text.partition(program)
    assert found, text[:500]
    assert text.index(program) < text.find("options:")
