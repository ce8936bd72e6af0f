"""Manifests of the protocols: what is drawn, what is written beside them, and how often."""

import csv
import shlex
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import generate
from affekt.evaluation.commands.check import write_manifest
from affekt.media.audio.reader import read_audio, write_wav
from affekt.media.corpus import Corpus
from affekt.media.video.video import probe, read_frames
from affekt.runtime.files import read_jsonl, write_jsonl
from affekt.runtime.manifest import check_columns, read_manifest
from tests.corpora.emotional_corpus import make_emotional_corpus
from tests.corpora.portrait_corpus import SIZE, write_portraits

FRAMES = 10


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Corpora of both profiles, of several people, and of one."""
    root = tmp_path_factory.mktemp("corpora")
    make_emotional_corpus(root / "eamm", frames=FRAMES)
    make_emotional_corpus(root / "evp", speakers=3, frames=FRAMES, profile="portrait")
    write_portraits(root / "one", frames=FRAMES)
    for folder in root.glob("*/clips/*/*"):
        seed = sum(folder.name.encode())
        noise = np.random.default_rng(seed).uniform(-0.3, 0.3, 640 * FRAMES)
        write_wav(folder / "audio.wav", noise.astype(np.float32))
    return root


def with_sound(corpus):
    for clip in corpus.clips():
        write_wav(clip.folder / "audio.wav", np.full(640 * clip.frames, 0.1, np.float32))
    return corpus


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["clip_id"]: row for row in csv.DictReader(file)}


def truth_of(made):
    return made.manifest.parent / "truth"


def written(corpora, out, kind="mead-self", split="test_speaker", name="eamm", **options):
    return write_manifest(Corpus(corpora / name), kind, split, out / "clips.csv", **options)


def test_evp_takes_a_clips_own_sound_and_its_own_video(corpora, tmp_path):
    made = written(corpora, tmp_path, "evp", "test_sentence", "one")
    clip = Corpus(corpora / "one").clip("M901_neutral_1_003")
    truth, (row,) = f"truth/{clip.id}.mp4", rows_of(made.manifest).values()
    files = {"source": "", "audio": f"audio/{clip.id}.wav", "pose": "", "emotion": ""}
    files |= {"target": truth, "truth": truth}
    described = {"speaker": "M901", "label": "neutral", "sentence": "003"}
    assert row == {"clip_id": clip.id, "split": "test_sentence"} | files | described
    sound = (clip.folder / "audio.wav").read_bytes()
    assert (tmp_path / row["audio"]).read_bytes() == sound
    assert made.clips == 1
    assert "--crop none --frame crop" in made.commands[0]


def test_the_truth_is_the_stored_frames_with_their_sound(corpora, tmp_path):
    made = written(corpora, tmp_path, "evp", "test_sentence", "one")
    clip = Corpus(corpora / "one").clip("M901_neutral_1_003")
    path = truth_of(made) / f"{clip.id}.mp4"
    shown = probe(path)
    assert (shown.width, shown.height, shown.frames, shown.fps) == (SIZE, SIZE, FRAMES, 25.0)
    frames, stored = read_frames(path).astype(int), clip.store()[0:FRAMES].astype(int)
    own = np.abs(frames - stored).mean()
    assert own < 3
    assert np.abs(frames - np.roll(stored, 1, axis=0)).mean() > own + 0.5
    assert np.corrcoef(read_audio(path)[: 640 * FRAMES], clip.audio())[0, 1] > 0.8  # noise, AAC


def test_lrw_takes_a_frame_of_the_test_video_itself(corpora, tmp_path):
    made = written(corpora, tmp_path, "lrw-self")
    rows = rows_of(made.manifest)
    assert len(rows) == made.clips == 8  # two speakers, two neutral clips and two emotions
    drawn = []
    for clip_id, row in rows.items():
        name, frame = row["source"].removeprefix("sources/").removesuffix(".png").rsplit("_", 1)
        assert name == clip_id
        stored = Corpus(corpora / "eamm").clip(clip_id).store()[int(frame)]
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / row["source"])), stored)
        assert row["pose"] == row["truth"] == f"truth/{clip_id}.mp4"
        assert (row["emotion"], row["target"]) == ("none", "")
        drawn.append(int(frame))
    assert len(set(drawn)) > 3
    assert "--crop none" in made.commands[0]


def test_mead_takes_another_neutral_video_of_the_speaker_and_another_person(corpora, tmp_path):
    made = written(corpora, tmp_path)
    fomm, rows = rows_of(tmp_path / "clips_fomm.csv"), rows_of(made.manifest)
    assert fomm.keys() == rows.keys()
    assert len(rows) == 8
    clips = {clip.id: clip for clip in Corpus(corpora / "eamm").clips()}
    for clip_id, row in rows.items():
        source, other = (
            clips[cell["source"].removeprefix("sources/").rsplit("_", 1)[0]]
            for cell in (row, fomm[clip_id])
        )
        assert source.speaker == clips[clip_id].speaker == row["speaker"]
        assert source.emotion == other.emotion == "neutral"
        assert source.id != clip_id
        assert other.speaker != row["speaker"]
        assert fomm[clip_id]["pose"] == row["truth"] == f"truth/{clip_id}.mp4"
        assert row["pose"] == row["emotion"] == f"clips_fomm/{clip_id}.mp4"
        assert fomm[clip_id]["emotion"] == fomm[clip_id]["audio"] == ""
    others = [row["source"].split("_")[0] for row in fomm.values()]
    assert len(set(others)) > 2


def test_the_commands_make_what_the_manifests_name(corpora, tmp_path):
    for kind, name in (("mead-self", "eamm"), ("lrw-self", "eamm"), ("evp", "one")):
        split = "test_sentence" if kind == "evp" else "test_speaker"
        made = written(corpora, tmp_path / kind, kind, split, name)
        for command in made.commands:
            python, script, *options = shlex.split(command)
            assert (python, script) == ("python", "generate.py")
            args = generate.parse(options)
            manifest = read_manifest(args.manifest)
            check_columns(manifest, generate.system_of(args.system).COLUMNS, args)
            assert len(manifest.rows) == made.clips
            for column in ("source", "audio", "target", "truth"):
                cells = {row.cells[column] for row in manifest.rows} - {""}
                assert all((manifest.path.parent / cell).is_file() for cell in cells)
        assert args.out == made.manifest.with_suffix("")
        text = made.text("some-protocol")
        assert all(command in text for command in made.commands)
        assert f"--results {args.out} --truth {truth_of(made)} --manifest {made.manifest}" in text
    fomm, eamm = (
        generate.parse(shlex.split(command)[2:])
        for command in written(corpora, tmp_path / "mead-self").commands
    )
    assert eamm.manifest.parent / "clips_fomm" == fomm.out
    assert (fomm.crop, fomm.driving_crop, eamm.crop) == ("none", "none", "none")
    assert eamm.size == SIZE  # the truth's


def test_each_person_of_evp_has_a_manifest_and_a_run(corpora, tmp_path):
    made = written(corpora, tmp_path, "evp", "test_speaker", "evp")
    assert len(rows_of(made.manifest)) == 8
    runs = [
        shlex.split(command)[shlex.split(command).index("--run") + 1] for command in made.commands
    ]
    assert runs == ["RUN_OF_M902", "RUN_OF_M903"]
    for speaker in ("M902", "M903"):
        own = rows_of(tmp_path / f"clips_{speaker}.csv")
        assert {row["speaker"] for row in own.values()} == {speaker}
        assert len(own) == 4
    (command,) = written(corpora, tmp_path, "evp", "test_speaker", "evp", speaker="M902").commands
    assert "--run RUN " in command


def test_draws_depend_on_seed_and_clip_alone(corpora, tmp_path):
    whole = rows_of(written(corpora, tmp_path / "whole").manifest)
    part = rows_of(written(corpora, tmp_path / "part", speaker="M906", limit=2).manifest)
    assert len(part) == 2
    assert part == {clip: whole[clip] for clip in part}
    assert list(whole) == sorted(whole)
    other = rows_of(written(corpora, tmp_path / "other", seed=1).manifest)
    assert sum(other[clip]["source"] != whole[clip]["source"] for clip in whole) > 4
    backwards = tmp_path / "backwards"
    backwards.mkdir()
    for name in ("clips", "corpus.json"):
        (backwards / name).symlink_to(corpora / "eamm" / name)
    listed = read_jsonl(corpora / "eamm/manifest.jsonl")
    write_jsonl(backwards / "manifest.jsonl", listed[::-1])
    made = write_manifest(Corpus(backwards), "mead-self", "test_speaker", tmp_path / "b/clips.csv")
    assert made.manifest.read_bytes() == (tmp_path / "whole/clips.csv").read_bytes()
    fomm = [(tmp_path / name / "clips_fomm.csv").read_bytes() for name in ("b", "whole")]
    assert fomm[0] == fomm[1]


def test_a_limit_draws_from_every_speaker(corpora, tmp_path):
    rows = rows_of(written(corpora, tmp_path, limit=2).manifest)
    assert Counter(row["speaker"] for row in rows.values()) == {"M905": 2, "M906": 2}
    chosen = {
        tuple(rows_of(written(corpora, tmp_path, limit=1, seed=seed).manifest)) for seed in range(6)
    }
    assert len(chosen) > 2


def test_what_is_there_is_left_and_what_is_missing_is_written(corpora, tmp_path):
    made = written(corpora, tmp_path)
    videos = sorted(truth_of(made).glob("*.mp4"))
    times = {path: path.stat().st_mtime_ns for path in videos}
    whole = videos[1].read_bytes()
    videos[0].unlink()
    videos[1].write_bytes(whole[:-20])
    written(corpora, tmp_path)
    again = {path: path.stat().st_mtime_ns for path in sorted(truth_of(made).glob("*.mp4"))}
    assert again.keys() == times.keys()
    assert [path for path in times if times[path] != again[path]] == videos[:2]
    assert videos[1].read_bytes() == whole


def test_files_of_another_corpus_are_not_mixed_in(corpora, tmp_path):
    made = written(corpora, tmp_path, "lrw-self")
    before = {path: path.read_bytes() for path in truth_of(made).glob("*.mp4")}
    other = with_sound(make_emotional_corpus(tmp_path / "other", frames=FRAMES + 1))
    with pytest.raises(ValueError, match="folder of its own for each corpus"):
        write_manifest(other, "lrw-self", "test_speaker", tmp_path / "others.csv")
    assert {path: path.read_bytes() for path in truth_of(made).glob("*.mp4")} == before


def test_clips_without_sound_or_without_a_portrait_are_named(tmp_path):
    corpus = with_sound(make_emotional_corpus(tmp_path / "corpus", frames=FRAMES))
    silent = corpus.clip("M906_happy_3_001").folder / "audio.wav"
    write_wav(silent, np.zeros(640 * FRAMES, np.float32))
    listed = read_jsonl(tmp_path / "corpus/manifest.jsonl")
    left = [row for row in listed if row["id"] != "M905_neutral_1_002"]
    write_jsonl(tmp_path / "corpus/manifest.jsonl", left)
    made = written(tmp_path, tmp_path / "out", name="corpus")
    assert made.left_out == {
        "M905_neutral_1_001": "speaker M905 has no other neutral clip",
        "M906_happy_3_001": "it has no sound",
    }
    assert made.clips == len(rows_of(made.manifest)) == 5
    assert "left out: M906_happy_3_001: it has no sound" in made.text("any")


def test_what_cannot_be_is_said(corpora, tmp_path):
    def refused(match, *arguments, **options):
        with pytest.raises(ValueError, match=match):
            written(corpora, tmp_path / "out", *arguments, **options)
        assert not (tmp_path / "out/clips.csv").exists()

    refused("wants 'portrait'; prepare it with frames.profile=portrait", "evp")
    refused("wants 'eamm'", "mead-self", "test_sentence", "one")
    refused("no clips of split 'val'", "lrw-self", "val")
    refused("no clips of split 'test_speaker' of speaker 'M901'", speaker="M901")
    refused("--limit is 0", limit=0)
    with pytest.raises(ValueError, match=r"wanted the name of a \.csv file"):
        write_manifest(Corpus(corpora / "eamm"), "lrw-self", "train", tmp_path / "clips")


def test_a_corpus_of_one_person_has_nobody_else_to_drive(tmp_path):
    write_portraits(tmp_path / "corpus", frames=FRAMES, profile="eamm")
    corpus = with_sound(Corpus(tmp_path / "corpus"))
    with pytest.raises(ValueError, match="no neutral clip of anyone but M901"):
        write_manifest(corpus, "mead-self", "test_sentence", tmp_path / "clips.csv")
