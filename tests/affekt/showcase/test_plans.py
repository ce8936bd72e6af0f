"""The demos' plans: every command is one that its program understands, after what it needs."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from affekt.runtime.config import load_config
from demo import Config, plan
from generate import parse
from tests.end_to_end.test_test_script import load_script

ROOT = Path(__file__).parents[3]
SYSTEMS = ("evp", "eamm", "full")


def stages(system):
    return plan(load_config(Config, ROOT / f"configs/demo/{system}.yaml"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_stage_comes_after_stages_that_stand_before_it(system):
    done = set()
    for stage in stages(system):
        assert set(stage.after) <= done, stage.name
        assert stage.name not in done
        done.add(stage.name)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_command_is_understood_by_its_program(system, capsys):
    script = load_script()
    for stage in stages(system):
        program, *arguments = stage.command[1:]
        if program == "test.py":
            script.parser(arguments).parse_args(arguments)
            continue
        if program == "generate.py":
            parse(arguments)
            continue
        name = arguments.pop(0) if program == "-m" else program.removesuffix(".py")
        module = importlib.import_module(name)
        if arguments[0].endswith(".yaml"):
            load_config(module.Config, ROOT / arguments[0], arguments[1:])


def test_a_demo_elsewhere_writes_nothing_into_the_usual_place(tmp_path):
    config = load_config(Config, ROOT / "configs/demo/full.yaml")
    moved = replace(config, out=tmp_path, full=replace(config.full, evp=tmp_path, eamm=tmp_path))
    for stage in plan(moved):
        assert not any("runs/demo" in argument for argument in stage.command), stage.command
