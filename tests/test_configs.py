"""Every YAML in configs/ names its command in its header and fits that command's schema."""

import importlib
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from affekt.runtime.config import dump_config, load_config

ROOT = Path(__file__).parent.parent
# Protocols and prompts have no script of their own; test_protocols.py, test_prompts.py read them.
FILES = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name != "protocols" and path.name != "prompts.yaml"
)
COMMAND = re.compile(r"python (?:-m |test\.py )?([\w./]+?)(?:\.py)? (configs/[\w./]+\.yaml)")
MODULES = {"ablate": "affekt.evaluation.ablation"}  # commands of test.py that read a YAML file
ABLATIONS = sorted((ROOT / "configs").glob("*/ablations/*.yaml"))
# How a header counts a run: "100 epochs of 17,500 windows"; "after epochs 60 and 90 of 300".
EPOCHS = re.compile(r"(?<![\d,])([\d,]+) epochs? of ([\d,]+) \w+")
MILESTONES = re.compile(r"after epochs (\d+) and (\d+) of (\d+)")
# The rows of the paper's Table 2: each differs from the full method in one weight.
TABLE_2 = {
    "disentangle_no_cla": "loss.classification",
    "disentangle_no_con": "loss.content",
    "disentangle_no_self": "loss.self_reconstruction",
    "disentangle_no_cross": "loss.cross_reconstruction",
}


def name_of(path):
    return str(path.relative_to(ROOT))


def schema(path):
    """The Config of the script that the header's command runs on this very file."""
    header = "".join(line for line in path.read_text().splitlines(True) if line.startswith("#"))
    commands = {file: script for script, file in COMMAND.findall(header)}
    assert name_of(path) in commands, f"the header of {name_of(path)} does not show its command"
    command = commands[name_of(path)]
    return importlib.import_module(MODULES.get(command, command)).Config


def flat(mapping, where=""):
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from flat(value, f"{where}{key}.")
        else:
            yield where + key, value


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_fits_its_script_and_survives_a_round_trip(path, tmp_path):
    config = load_config(schema(path), path)
    dump_config(config, tmp_path / "config.yaml")
    assert load_config(schema(path), tmp_path / "config.yaml") == config


@pytest.mark.parametrize("path", ABLATIONS, ids=name_of)
def test_an_ablation_changes_exactly_the_keys_it_shows(path):
    shown = yaml.safe_load(path.read_text())
    base = path.parent / shown.pop("base")
    full = dict(flat(asdict(load_config(schema(path), base))))
    ablated = dict(flat(asdict(load_config(schema(path), path))))
    changed = {key for key in full if full[key] != ablated[key]}
    assert changed == {key for key, _ in flat(shown)}
    assert "run.out" in changed
    assert len(changed) >= 2


def header(path):
    return " ".join(line[1:].strip() for line in path.read_text().splitlines() if line[:1] == "#")


def number(text):
    return int(text.replace(",", ""))


@pytest.mark.parametrize(
    "path", [each for each in FILES if EPOCHS.search(header(each))], ids=name_of
)
def test_the_epochs_of_a_header_are_those_of_its_steps(path):
    run = load_config(schema(path), path).run
    seen = run.steps * run.batch_size * run.accumulate
    for epochs, items in EPOCHS.findall(header(path)):
        assert seen / number(items) == pytest.approx(number(epochs), rel=0.01)


@pytest.mark.parametrize("path", [p for p in FILES if MILESTONES.search(header(p))], ids=name_of)
def test_the_milestones_of_a_header_are_those_of_its_steps(path):
    config = load_config(schema(path), path)
    optim = config.optim if hasattr(config, "optim") else config.generator_optim
    for first, second, last in MILESTONES.findall(header(path)):
        shares = int(first) / int(last), int(second) / int(last)
        wanted = tuple(share * config.run.steps for share in shares)
        assert optim.milestones == pytest.approx(wanted, rel=1e-6)


def test_headers_that_count_epochs_are_found():
    counted = {path.stem for path in FILES if EPOCHS.search(header(path))}
    assert {"pretrain_emotion", "a2fd", "displacement_release", "fomm_vox256"} <= counted
    assert len([path for path in FILES if MILESTONES.search(header(path))]) >= 3


@pytest.mark.parametrize(("name", "key"), TABLE_2.items())
def test_a_row_of_table_2_switches_off_one_term(name, key):
    path = ROOT / f"configs/evp/ablations/{name}.yaml"
    shown = dict(flat(yaml.safe_load(path.read_text())))
    assert shown.pop("base") == "../disentangle.yaml"
    assert shown.pop("run.out")
    assert shown == {key: 0.0}


def test_there_are_configs_to_check():
    assert len(FILES) >= 12


def test_eamms_emotion_displacement_takes_an_a2fd_that_learned_from_its_fomm():
    configs = [load_config(schema(path), path) for path in (ROOT / "configs/eamm").rglob("*.yaml")]
    taught_by = {each.run.out: each.fomm for each in configs if hasattr(each, "start_from")}
    pairs = [(each.a2fd, each.fomm) for each in configs if hasattr(each, "a2fd")]
    assert len(pairs) >= 2
    for a2fd, fomm in pairs:  # an import holds both in one folder
        assert taught_by.get(a2fd, a2fd) == fomm
