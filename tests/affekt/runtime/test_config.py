"""The config loader refuses by name what does not fit, and merges in the stated order."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from affekt.runtime.command import config_from_argv
from affekt.runtime.config import ConfigError, dump_config, load_config


@dataclass(frozen=True)
class Optim:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    milestones: tuple[int, ...] = ()
    warmup: int | None = 5


@dataclass(frozen=True)
class Config:
    out: Path
    norm: Literal["l1", "l2"] = "l2"
    weights: Path | None = None
    amp: bool = False
    speakers: tuple[str, ...] = ()
    slow: Optim = Optim(lr=1e-6, warmup=9)
    optim: Optim = field(default_factory=Optim)

    def __post_init__(self):
        if self.norm == "l1" and self.amp:
            raise ValueError("amp needs norm l2")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "base.yaml").write_text("out: runs/a\noptim: {lr: 2e-4, milestones: [1, 2]}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/ablation.yaml").write_text("base: ../base.yaml\nnorm: l1\noptim: {lr: 3e-4}\n")
    return tmp_path / "sub/ablation.yaml"


def test_defaults_then_base_then_file_then_arguments(path):
    config = load_config(Config, path)
    assert config == Config(Path("runs/a"), "l1", optim=Optim(lr=3e-4, milestones=(1, 2)))
    config = load_config(Config, path, ["optim.lr=1e-5", "optim.milestones=[7]", "norm=l2"])
    assert (config.optim.lr, config.optim.milestones, config.norm) == (1e-5, (7,), "l2")


def test_a_dumped_config_reads_back_equal(path, tmp_path):
    config = load_config(Config, path, ["weights=weights/x.npz"])
    dump_config(config, tmp_path / "dump.yaml")
    assert load_config(Config, tmp_path / "dump.yaml") == config


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/x/run #2", "/x/run #2"),
        ("a: b", "a: b"),
        ("2024-05-01", "2024-05-01"),
        ("007", "007"),
        ("[draft] no", "[draft] no"),
        ("{a}/b", "{a}/b"),
        (" spaced ", " spaced "),
        ("no", "no"),
        ("~/runs/a", str(Path.home() / "runs/a")),
    ],
)
def test_a_path_is_what_was_typed(path, text, wanted):
    assert load_config(Config, path, [f"out={text}"]).out == Path(wanted)
    assert load_config(Config, path, [f"weights={text}"]).weights == Path(wanted)
    assert load_config(Config, path, ["speakers=[001, 03, no]"]).speakers == ("001", "03", "no")
    assert load_config(Config, path, ["optim.warmup=~"]).optim.warmup is None
    assert load_config(Config, path, ["optim={lr: 1, warmup: 3}"]).optim.milestones == (1, 2)
    # A field's default counts, not its class's: 9, not 5
    assert load_config(Config, path, ["slow.lr=1"]).slow == Optim(lr=1, warmup=9)
    for nothing in ("weights=null", "weights="):
        assert load_config(Config, path, ["weights=x", nothing]).weights is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.ler=1", "unknown key 'optim.ler'; did you mean 'lr'?"),
        ("zzz=1", "unknown key 'zzz'; known: out"),
        ("optim.lr=true", "optim.lr is True, which is not float"),
        ("optim.lr=fast", "optim.lr is 'fast', which is not float"),
        ("optim.betas=[0.9]", "optim.betas is [0.9]"),
        ("optim.milestones=[1, x]", "optim.milestones[1] is 'x', which is not int"),
        ("norm=l3", "norm is 'l3', not one of 'l1', 'l2'"),
        ("norm=l22", "norm is 'l22', not one of 'l1', 'l2'; did you mean 'l2'?"),
        ("amp=1", "amp is 1, which is not bool"),
        ("optim=3", "optim is 3"),
        ("out=", "the argument 'out=' is empty, wanted a path"),
        ("norm.x=1", "norm is {'x': '1'}, not one of"),
        ("out", "'out' is not of the form key.sub=value"),
        ("norm=[", "the argument 'norm=[' is not YAML"),
        ("amp=true", "amp needs norm l2"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(path, override, message):
    with pytest.raises(ConfigError) as error:
        load_config(Config, path, [override])
    assert message in str(error.value)


def test_a_wrong_value_a_missing_key_and_a_missing_file_are_named_with_the_file(path, tmp_path):
    path.write_text("norm: l7\nout: x\n")
    with pytest.raises(ConfigError, match=r"ablation\.yaml"):
        load_config(Config, path)
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ConfigError, match="the key 'out' is missing"):
        load_config(Config, tmp_path / "empty.yaml")
    with pytest.raises(ConfigError, match=r"no configuration file .*nowhere\.yaml"):
        load_config(Config, tmp_path / "nowhere.yaml")


def test_a_wrong_command_line_ends_with_the_message_not_a_traceback(path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        config_from_argv(Config, "doc", [str(path), "optim.ler=1"])
    assert exit_info.value.code == 2
    assert "did you mean 'lr'" in capsys.readouterr().err


BOMB = "a: &a [" + ", ".join(["x"] * 9) + "]\n"
for one, other in zip("abcdefghi", "bcdefghij", strict=True):
    BOMB += f"{other}: &{other} [{', '.join([f'*{one}'] * 9)}]\n"
MERGES = "a: &a {k: 1}\n"
for one, other in zip("abcdefghi", "bcdefghij", strict=True):
    MERGES += f"{other}: &{other} {{<<: [{', '.join([f'*{one}'] * 9)}]}}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), r"a\.yaml has aliases \(\*name\) that stand for over 100,000 values"),
        (MERGES.encode(), r"a\.yaml has aliases \(\*name\) that stand for over 100,000 values"),
        (b"a: &a [1, *a]", r"a\.yaml has aliases"),
        (b"base: a.yaml", r"a\.yaml: its base is based on it \(.*a\.yaml -> .*a\.yaml\)"),
        (
            b"base: b.yaml",
            r"b\.yaml: its base is based on it \(.*a\.yaml -> .*b\.yaml -> .*a",
        ),
        (b"base: [b.yaml]", r"a\.yaml: base is \['b\.yaml'\], wanted the name of a file"),
        ("name: Zoë".encode("latin-1"), r"a\.yaml is no UTF-8 text \(byte 8 is 0xeb\); save it as"),
        (b"[" * 5000, r"a\.yaml is nested too deeply"),
        (b"a: 2024-13-45", r"a\.yaml is not YAML: month must be in 1\.\.12"),
        (b"a: [1\nb: 2", r"a\.yaml is not YAML: while parsing a flow sequence"),
        (b"a: \x00", r"a\.yaml is not YAML: unacceptable character"),
        (b"#" * (2**20 + 1), r"a\.yaml has 1,048,577 bytes: it is no configuration file"),
        (
            b"name: [" + b"x, " * 9999 + b"x]",
            r"name is \['x', .{180,200} \.\.\., which is not str",
        ),
        (b"? " + b"k" * 5000 + b"\n: 1", r"unknown key 'k{199} \.\.\.; known: name"),
    ],
)
def test_a_hostile_file_is_one_line(tmp_path, content, message):
    @dataclass(frozen=True)
    class Named:
        name: str = ""

    (tmp_path / "a.yaml").write_bytes(content)
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(Named, tmp_path / "a.yaml")
    assert "\n" not in str(refused.value)


def test_aliases_and_merges_of_an_ordinary_size_are_read(tmp_path):
    @dataclass(frozen=True)
    class Two:
        a: dict
        b: dict

    (tmp_path / "a.yaml").write_text("a: &a {k: 1}\nb: {<<: *a, l: 2}")
    assert load_config(Two, tmp_path / "a.yaml") == Two({"k": 1}, {"k": 1, "l": 2})
