"""generate.py's command line: what it refuses and how it explains itself."""

import pytest

import generate
from evp.drive import Emotion, sound_windows


def arguments(tmp_path, *more):
    paths = [f"--{name}={tmp_path / name}" for name in ("run", "audio", "target")]
    return ["evp", *paths, f"--out={tmp_path / 'out.mp4'}", *more]


def test_help_starts_with_an_example(capsys):
    for argv in (["--help"], ["evp", "--help"]):
        with pytest.raises(SystemExit):
            generate.parse(argv)
        text = capsys.readouterr().out
        assert "python generate.py evp --run" in text[:500]


def test_an_untrained_run_is_named_and_nothing_is_written(tmp_path, capsys):
    assert generate.main(arguments(tmp_path)) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "run/audio2lm") in error
    assert "Traceback" not in error
    assert not (tmp_path / "out.mp4").exists()


def test_the_emotion_comes_from_one_place(tmp_path, capsys):
    both = ("--emotion=happy", "--emotion-blend=sad:happy:0.5")
    with pytest.raises(SystemExit):
        generate.parse(arguments(tmp_path, *both))
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not from label and blend"):
        Emotion(label="happy", blend="sad:happy:0.5")


def test_no_sound_has_no_windows():
    with pytest.raises(ValueError, match="sound is empty"):
        sound_windows([])
