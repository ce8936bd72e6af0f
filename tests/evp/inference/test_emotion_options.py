"""Which emotion generate.py gives a video: options, and a manifest's cells."""

from pathlib import Path

import pytest

import generate
from affekt.runtime.batch import Fingerprints, ResultFolder
from affekt.runtime.manifest import read_manifest
from evp.inference.landmarks import Emotion


def options(tmp_path, *more):
    paths = [f"--{name}={tmp_path / name}" for name in ("run", "audio", "target")]
    return ["evp", *paths, f"--out={tmp_path / 'out.mp4'}", *more]


def emotion(tmp_path, *more):
    args = generate.parse(options(tmp_path, *more))
    return generate.PIPELINES["evp"].job_of(args).emotion


def test_every_source_of_emotion_has_an_intensity(tmp_path):
    assert emotion(tmp_path) == Emotion()
    assert emotion(tmp_path, "--intensity=0.5") == Emotion(intensity=0.5)
    assert emotion(tmp_path, "--emotion=sad", "--intensity=0") == Emotion("sad", intensity=0)
    found = emotion(tmp_path, "--emotion-track=a.csv", "--intensity=0.25")
    assert found == Emotion(track=Path("a.csv"), intensity=0.25)
    assert emotion(tmp_path, "--emotion-blend=sad:happy:0.3").blend == "sad:happy:0.3"
    assert emotion(tmp_path, "--emotion-audio=a.wav").audio == Path("a.wav")


def test_a_schedule_is_one_source_among_others(tmp_path, capsys):
    with pytest.raises(SystemExit):
        generate.parse(options(tmp_path, "--emotion-track=a.csv", "--emotion=happy"))
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not from label and track"):
        Emotion(label="happy", track=Path("a.csv"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--intensity=1.5",), "the intensity is 1.5, wanted 0 (neutral) to 1"),
        (("--intensity=much",), "the intensity is 'much', wanted a number from 0 to 1"),
        (("--intensity=0.5", "--face=a.mp4"), "--intensity does not go with --face"),
    ],
)
def test_an_intensity_that_says_nothing_is_refused(tmp_path, capsys, given, said):
    assert generate.main(options(tmp_path, *given)) == 1
    assert said in capsys.readouterr().err


def rows_of(tmp_path, text, *more):
    """Return the emotion of each row of a manifest, or what is wrong with it."""
    manifest = tmp_path / "clips.csv"
    manifest.write_text(text)
    out = tmp_path / "out"
    args = ["evp", f"--run={tmp_path}", f"--manifest={manifest}", f"--out={out}", *more]
    args = generate.parse(args)
    rows, batch = read_manifest(manifest), ResultFolder(out)
    return [generate.job_of_row(rows, row, args, batch) for row in rows.rows]


def test_a_manifests_cells_set_the_emotion_of_the_command_line_aside(tmp_path):
    text = (
        "clip_id,audio,target,emotion,emotion_audio,emotion_blend,emotion_track,intensity\n"
        "a,x.wav,x.mp4,happy,,,,0.5\n"
        "b,x.wav,x.mp4,,,sad:happy:0.3,,\n"
        "c,x.wav,x.mp4,,,,t.json,\n"
        "d,x.wav,x.mp4,,,,,0\n"
        "e,x.wav,x.mp4,,y.wav,,,\n"
    )
    jobs = rows_of(tmp_path, text, "--emotion=sad", "--intensity=0.75")
    assert [job.emotion for job in jobs] == [
        Emotion("happy", intensity=0.5),
        Emotion(blend="sad:happy:0.3", intensity=0.75),
        Emotion(track=tmp_path / "t.json", intensity=0.75),
        Emotion("sad", intensity=0.0),
        Emotion(audio=tmp_path / "y.wav", intensity=0.75),
    ]
    (filmed,) = rows_of(tmp_path, "clip_id,audio,target,emotion\na,x,y,\n", "--face=f.mp4")
    assert filmed.face == Path("f.mp4")
    (labelled,) = rows_of(tmp_path, "clip_id,audio,target,emotion\na,x,y,sad\n", "--face=f.mp4")
    assert (labelled.face, labelled.emotion) == (None, Emotion("sad"))


def test_two_emotions_in_one_row_are_refused(tmp_path):
    text = "clip_id,audio,target,emotion,emotion_track\na,x.wav,x.mp4,happy,t.json\n"
    with pytest.raises(ValueError, match="both emotion and emotion_track are given; keep one"):
        rows_of(tmp_path, text)


def test_another_schedule_or_intensity_makes_a_clip_anew(tmp_path):
    track = tmp_path / "t.csv"
    track.write_text("time,happy\n0,1\n")
    text = "clip_id,audio,target,emotion_track,intensity\na,x.wav,x.mp4,t.csv,\n"
    found = {Fingerprints().of(*rows_of(tmp_path, text))}
    found.add(Fingerprints().of(*rows_of(tmp_path, text, "--intensity=0.5")))
    track.write_text("time,happy\n1,1\n")
    found.add(Fingerprints().of(*rows_of(tmp_path, text)))
    assert len(found) == 3
