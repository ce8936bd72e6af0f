"""data_prep.pairs on a made-up prepared corpus: only what the pairs need is on disk."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from affekt.media.corpus import SCHEMA
from affekt.runtime.files import read_jsonl, write_json, write_jsonl
from data_prep.alignment.dtw import dtw_path, warp
from data_prep.pairs import PairsConfig, make_pairs
from data_prep.sentences import MEAD_SENTENCES, partners, read_table

ROOT = Path(__file__).parents[2]


def mfcc_of(frames, seed):
    """Features that pass slowly through random states, as speech does."""
    rng = np.random.default_rng(seed)
    states = 10 * np.random.default_rng(0).standard_normal((12, 13))  # the sentence
    at = np.linspace(0, 11.99, 4 * frames + 24).astype(int)
    return (states[at] + rng.standard_normal((4 * frames + 24, 13))).astype(np.float32)


def add_clip(root, name, frames, **changes):
    """`name` is speaker_emotion_number; the manifest's other fields have defaults."""
    clips = read_jsonl(root / "manifest.jsonl")
    speaker, emotion, number = name.split("_")
    fields = {"level": 3, "sentence": number, "split": "train", "id": name} | changes
    fields |= {"speaker": speaker, "emotion": emotion, "frames": frames}
    folder = root / "clips" / speaker / fields["id"]
    folder.mkdir(parents=True)
    np.save(folder / "mfcc.npy", mfcc_of(frames, len(clips)))
    write_manifest(root, [*clips, {"sha256": "0", "source": "x"} | fields])


def write_manifest(root, clips):
    write_jsonl(root / "manifest.jsonl", sorted(clips, key=lambda clip: clip["id"]))


@pytest.fixture
def root(tmp_path):
    write_json(tmp_path / "corpus.json", {"schema": SCHEMA})
    write_manifest(tmp_path, [])
    for frames, emotion in ((30, "happy"), (26, "angry"), (35, "sad")):
        add_clip(tmp_path, f"M901_{emotion}_001", frames)
    for frames, emotion in ((31, "happy"), (28, "sad")):
        add_clip(tmp_path, f"W902_{emotion}_004", frames, split="test_sentence")
    add_clip(tmp_path, "W902_fear_005", 25)
    return tmp_path


def rows_of(root):
    return read_jsonl(root / "pairs/pairs.jsonl")


@pytest.mark.parametrize("backend", ["numba", "dtw-python"])
def test_by_plain_dtw_all_emotions_of_a_sentence_take_the_first_labels_timing(root, backend):
    make_pairs(root, PairsConfig(aligner="dtw", backend=backend), progress=False)
    rows = [row for row in rows_of(root) if row["speaker"] == "M901"]
    assert [row["emotion"] for row in rows] == ["angry", "happy", "sad"]
    assert {row["reference"] for row in rows} == {"angry"}
    assert {row["rows"] for row in rows} == {4 * 26 + 24}
    angry = np.load(root / "clips/M901/M901_angry_001/mfcc.npy")
    for row in rows:
        aligned = np.load(root / "pairs" / row["file"])
        mfcc = np.load(root / f"clips/M901/{row['clip']}/mfcc.npy")
        path, cost = dtw_path(mfcc, angry)
        np.testing.assert_array_equal(aligned, warp(mfcc, path, len(angry)))
        assert aligned.dtype == np.float32
        assert row["cost"] == pytest.approx(cost / len(path))
    assert rows[0]["cost"] == 0
    assert (root / "pairs/M901/001/sad.npy").is_file()


def test_every_line_says_which_aligner_made_it_and_a_second_run_mends_older_files(root):
    for aligner in ("speech", "dtw"):
        make_pairs(root, PairsConfig(aligner), progress=False)
        assert {row["aligner"] for row in rows_of(root)} == {aligner}
    old = [{k: v for k, v in row.items() if k != "aligner"} for row in rows_of(root)]
    write_jsonl(root / "pairs/pairs.jsonl", old)
    (root / "pairs/pairs.json").unlink()
    assert make_pairs(root, PairsConfig("dtw"), progress=False).kept == len(old)
    assert {row["aligner"] for row in rows_of(root)} == {"dtw"}


def test_a_library_is_imported_only_where_it_is_chosen():
    optional = {"dtw", "librosa", "python_speech_features", "face_alignment"}
    program = (
        f"import sys, data_prep.pairs, data_prep.prepare; print({optional} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
    with pytest.raises(ValueError, match="add --aligner dtw"):
        PairsConfig(backend="dtw-python")


def test_an_aligned_clip_is_nearer_to_the_reference_than_the_clip_itself(root):
    make_pairs(root, PairsConfig(), progress=False)
    angry = np.load(root / "pairs/M901/001/angry.npy")
    happy = np.load(root / "clips/M901/M901_happy_001/mfcc.npy")[: len(angry)]
    aligned = np.load(root / "pairs/M901/001/happy.npy")
    assert np.abs(aligned - angry).mean() < 0.6 * np.abs(happy - angry).mean()


def test_held_out_pairs_are_marked_and_never_mixed_with_training(root):
    add_clip(root, "M901_fear_001", 22, split="test_sentence")
    make_pairs(root, PairsConfig(), progress=False)
    split_of = {clip["id"]: clip["split"] for clip in read_jsonl(root / "manifest.jsonl")}
    rows = rows_of(root)
    assert {row["split"] for row in rows} == {"train", "test_sentence"}
    for row in rows:
        assert split_of[row["clip"]] == split_of[row["reference_clip"]] == row["split"]
    left_out = {row["clip"]: row["reason"] for row in read_jsonl(root / "pairs/left_out.jsonl")}
    assert left_out["M901_fear_001"] == "its sentence has no other emotion in this split"
    assert left_out.keys() == {"M901_fear_001", "W902_fear_005"}


def test_the_reference_can_be_chosen_and_falls_back_where_it_is_missing(root):
    make_pairs(root, PairsConfig(reference="sadness"), progress=False)
    assert {row["reference"] for row in rows_of(root)} == {"sad"}
    make_pairs(root, PairsConfig(reference="angry"), progress=False)
    by_speaker = {(row["speaker"], row["reference"]) for row in rows_of(root)}
    assert by_speaker == {("M901", "angry"), ("W902", "happy")}
    with pytest.raises(ValueError, match="no emotion 'bored' in this corpus"):
        make_pairs(root, PairsConfig(reference="bored"), progress=False)


def test_without_energy_the_distance_sees_12_columns_but_13_are_written(root):
    for clip in ("M901_angry_001", "M901_happy_001"):
        path = root / f"clips/M901/{clip}/mfcc.npy"
        mfcc = np.load(path)
        mfcc[:, 0] += 1000 * (clip == "M901_happy_001")
        np.save(path, mfcc)
    make_pairs(root, PairsConfig("dtw", energy=False), progress=False)
    cost = {row["emotion"]: row["cost"] for row in rows_of(root) if row["speaker"] == "M901"}
    assert cost["happy"] < 100
    assert np.load(root / "pairs/M901/001/happy.npy").shape[1] == 13
    make_pairs(root, PairsConfig("dtw"), progress=False)
    cost = {row["emotion"]: row["cost"] for row in rows_of(root) if row["speaker"] == "M901"}
    assert cost["happy"] > 900


def test_a_second_run_makes_only_what_is_missing_and_ends_the_same(root):
    first = make_pairs(root, PairsConfig(), progress=False)
    before = (root / "pairs/pairs.jsonl").read_bytes()
    missing, kept = root / "pairs/M901/001/happy.npy", root / "pairs/M901/001/sad.npy"
    content, stamp = missing.read_bytes(), kept.stat().st_mtime_ns
    missing.unlink()
    second = make_pairs(root, PairsConfig(), progress=False)
    assert (first.kept, second.kept) == (0, 4)
    assert missing.read_bytes() == content
    assert kept.stat().st_mtime_ns == stamp
    assert (root / "pairs/pairs.jsonl").read_bytes() == before
    assert make_pairs(root, PairsConfig("dtw"), progress=False).kept == 0
    assert make_pairs(root, PairsConfig("dtw", energy=False), progress=False).kept == 0


def test_changed_features_are_aligned_anew(root):
    make_pairs(root, PairsConfig(), progress=False)
    np.save(root / "clips/M901/M901_sad_001/mfcc.npy", mfcc_of(35, seed=99))
    again = make_pairs(root, PairsConfig(), progress=False)
    assert len(again.rows) - again.kept == 1


def test_a_damaged_clip_is_left_out_and_listed(root):
    path = root / "clips/M901/M901_angry_001/mfcc.npy"
    mfcc = np.load(path)
    mfcc[3, 2] = np.nan
    np.save(path, mfcc)
    make_pairs(root, PairsConfig(), progress=False)
    rows = [row for row in rows_of(root) if row["speaker"] == "M901"]
    assert [row["emotion"] for row in rows] == ["happy", "sad"]
    assert {row["reference"] for row in rows} == {"happy"}
    left_out = {row["clip"]: row["reason"] for row in read_jsonl(root / "pairs/left_out.jsonl")}
    assert left_out["M901_angry_001"] == "its mfcc.npy cannot be read"


def test_a_cost_limit_drops_pairs_that_align_badly(root):
    path = root / "clips/M901/M901_sad_001/mfcc.npy"
    np.save(path, mfcc_of(35, seed=1)[::-1])  # another sentence
    make_pairs(root, PairsConfig(), progress=False)
    cost = {row["emotion"]: row["cost"] for row in rows_of(root) if row["speaker"] == "M901"}
    assert cost["sad"] > 2 * cost["happy"]
    make_pairs(root, PairsConfig(max_cost=1.5 * cost["happy"]), progress=False)
    rows = [row for row in rows_of(root) if row["speaker"] == "M901"]
    assert [row["emotion"] for row in rows] == ["angry", "happy"]


def test_all_recordings_of_the_strongest_level_are_used_and_two_alone_are_no_pair(root):
    add_clip(root, "M901_sad_001", 20, id="M901_sad_a_001", level=1)
    add_clip(root, "M901_sad_001", 20, id="M901_sad_b_001")
    add_clip(root, "W902_fear_005", 20, id="W902_fear_b_005")
    make_pairs(root, PairsConfig(), progress=False)
    sad = {row["clip"]: row["file"] for row in rows_of(root) if row["emotion"] == "sad"}
    assert sad["M901_sad_001"] == "M901/001/sad.npy"
    assert sad["M901_sad_b_001"] == "M901/001/sad_2.npy"
    assert "M901_sad_a_001" not in sad
    assert np.load(root / "pairs/M901/001/sad_2.npy").shape == (4 * 26 + 24, 13)
    assert "fear" not in {row["emotion"] for row in rows_of(root)}


def test_a_table_says_which_numbers_are_the_same_sentence(root, tmp_path):
    add_clip(root, "M901_fear_007", 22)
    table = tmp_path / "table.csv"
    table.write_text("speaker,emotion,number,sentence\nM901,Anger,1,the cat\nM901,fear,7,the cat\n")
    make_pairs(root, PairsConfig(table=table), progress=False)
    rows = [row for row in rows_of(root) if row["speaker"] == "M901"]
    assert [(row["clip"], row["sentence"]) for row in rows] == [
        ("M901_angry_001", "the cat"),
        ("M901_fear_007", "the cat"),
    ]
    assert (root / "pairs" / rows[1]["file"]).is_file()


def speech_of(states, hold, seed):
    """MFCC of made-up speech: each state for `hold` rows, with 12 rows of silence at both ends."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(states, hold, axis=0)
    silence = np.zeros((12, 13))
    silence[:, 0] = -36
    rows = np.concatenate([silence, rows, silence])
    return (rows + 0.3 * rng.standard_normal(rows.shape)).astype(np.float32)


def states_of(sentence, count=16):
    return 5 * np.random.default_rng(sentence).standard_normal((count, 13)) * [0.2, *[1] * 12]


def put(root, clip, mfcc):
    """Replace the features of a clip, and its length in the manifest."""
    np.save(root / f"clips/{clip[:4]}/{clip}/mfcc.npy", mfcc)
    clips = read_jsonl(root / "manifest.jsonl")
    frames = (len(mfcc) - 24) // 4
    write_manifest(root, [row | ({"frames": frames} if row["id"] == clip else {}) for row in clips])


def test_pairs_end_where_one_recording_breaks_off(root):
    states = states_of(1)
    put(root, "M901_angry_001", speech_of(states, 8, 0))
    put(root, "M901_happy_001", speech_of(states[:12], 10, 1))
    put(root, "M901_sad_001", speech_of(states, 9, 2))
    make_pairs(root, PairsConfig(), progress=False)
    rows = {row["emotion"]: row for row in rows_of(root) if row["speaker"] == "M901"}
    assert rows["happy"]["matched"] == pytest.approx(12 + 12 * 8, abs=2)
    assert rows["sad"]["matched"] == rows["angry"]["matched"] == 16 * 8 + 24
    assert {row["rows"] for row in rows.values()} == {rows["happy"]["matched"]}
    for row in rows.values():
        assert len(np.load(root / "pairs" / row["file"])) == row["rows"]
    happy = np.load(root / "pairs" / rows["happy"]["file"])
    near = np.abs(
        happy[12:-2] - np.load(root / "clips/M901/M901_angry_001/mfcc.npy")[12 : len(happy) - 2]
    )
    assert np.median(near) < 0.6  # two draws of noise of 0.3


def test_files_at_hand_are_made_anew_when_a_shorter_recording_joins_the_sentence(root):
    states = states_of(1)
    for k, clip in enumerate(("M901_angry_001", "M901_happy_001", "M901_sad_001")):
        put(root, clip, speech_of(states, 8 + k, k))
    make_pairs(root, PairsConfig(), progress=False)
    assert np.load(root / "pairs/M901/001/happy.npy").shape == (16 * 8 + 24, 13)
    put(root, "M901_sad_001", speech_of(states[:10], 8, 2))
    again = make_pairs(root, PairsConfig(), progress=False)
    assert again.kept == 2  # those of W902
    lengths = {len(np.load(root / "pairs" / row["file"])) for row in rows_of(root)[:3]}
    assert lengths == {row["rows"] for row in rows_of(root)[:3]}
    assert lengths.pop() == pytest.approx(12 + 10 * 8, abs=2)
    assert make_pairs(root, PairsConfig(), progress=False).kept == 5


def test_a_recording_of_less_than_half_a_sentence_is_left_out_and_does_not_cut_the_others(root):
    states = states_of(1)
    put(root, "M901_angry_001", speech_of(states, 8, 0))
    put(root, "M901_happy_001", speech_of(states[:6], 8, 1))
    put(root, "M901_sad_001", speech_of(states, 9, 2))
    make_pairs(root, PairsConfig(), progress=False)
    rows = {row["emotion"]: row["rows"] for row in rows_of(root) if row["speaker"] == "M901"}
    assert rows == {"angry": 16 * 8 + 24, "sad": 16 * 8 + 24}
    left_out = {row["clip"]: row["reason"] for row in read_jsonl(root / "pairs/left_out.jsonl")}
    assert left_out["M901_happy_001"] == "it holds less than 50% of the reference's sentence"


def test_a_speaker_whose_sentences_no_table_names_is_matched_by_cost_with_a_warning(root, caplog):
    said = {"angry 1": 1, "angry 2": 2, "angry 3": 3, "sad 1": 3, "sad 2": 1, "sad 3": 9}
    for name in said:
        clip = f"M905_{name.replace(' ', '_')}"
        add_clip(root, clip, 30, sentence=name)  # as data_prep.prepare names it
    for k, (name, sentence) in enumerate(said.items()):
        clip = f"M905_{name.replace(' ', '_')}"
        put(root, clip, speech_of(states_of(sentence), 7 + k % 3, k))
    make_pairs(root, PairsConfig(), progress=False)
    rows = [(row["clip"], row["sentence"]) for row in rows_of(root) if row["speaker"] == "M905"]
    assert rows == [
        ("M905_angry_1", "angry 1"),
        ("M905_sad_2", "angry 1"),
        ("M905_angry_3", "angry 3"),
        ("M905_sad_1", "angry 3"),
    ]
    assert "M905: no table lists which files are the same sentence; 4 of 6 clips" in caplog.text
    assert "M901: no table" not in caplog.text


def test_partners_are_each_others_cheapest_and_not_too_dear():
    costs = np.array([[0.3, 0.2, 0.9], [0.1, 0.4, 0.9], [0.2, 0.9, 0.6]])
    assert partners(costs) == [(0, 1), (1, 0)]
    assert partners(costs, most=1.0) == [(0, 1), (1, 0)]
    assert partners(costs, most=0.15) == [(1, 0)]


def test_a_sentence_named_like_a_path_stays_inside_the_folder(root):
    clips = read_jsonl(root / "manifest.jsonl")
    write_manifest(root, [clip | {"sentence": "../../etc/x"} for clip in clips])
    make_pairs(root, PairsConfig(), progress=False)
    for row in rows_of(root):
        inside = (root / "pairs" / row["file"]).resolve()
        assert inside.is_relative_to((root / "pairs").resolve())


def test_the_release_table_has_13_sentences_in_8_emotions_of_2_speakers():
    table = read_table(MEAD_SENTENCES)
    for speaker in ("M003", "M030"):
        found = [(emotion, text) for (who, emotion, _), text in table.items() if who == speaker]
        assert len(found) == len(set(found)) == 13 * 8
        assert len({text for _, text in found}) == 13
    assert table["M003", "disgusted", "28"] == table["M003", "angry", "1"]
    assert table["M030", "contempt", "30"] == table["M030", "neutral", "40"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speaker,emotion,number,sentence\nM1,sad,1,x\nM1,sad,001,y\n", "line 3"),
        ("speaker,emotion,number,sentence\nM7,sad,1,x\n", "names no clip of"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_line(root, tmp_path, text, message):
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=message):
        make_pairs(root, PairsConfig(table=table), progress=False)


def test_the_command_prints_counts_and_names_what_is_missing(root, tmp_path):
    command = [sys.executable, "-m", "data_prep.pairs"]
    done = subprocess.run(
        [*command, str(root)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "5 aligned clips (5 made now, 0 at hand)" in done.stdout
    assert "train: 3 clips of 1 sentences" in done.stdout
    failed = subprocess.run(
        [*command, str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "no manifest.jsonl" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_processes_make_the_same_pairs(root):
    make_pairs(root, PairsConfig(), progress=False)
    names = ["pairs.jsonl", "left_out.jsonl", "pairs.json", *(r["file"] for r in rows_of(root))]
    alone = [(root / "pairs" / name).read_bytes() for name in names]
    shutil.rmtree(root / "pairs")
    assert make_pairs(root, PairsConfig(workers=2), progress=False).kept == 0
    assert [(root / "pairs" / name).read_bytes() for name in names] == alone


def test_a_sentence_that_takes_too_long_is_left_out(root):
    write_manifest(root, [c for c in read_jsonl(root / "manifest.jsonl") if c["speaker"] == "M901"])
    made = make_pairs(root, PairsConfig(workers=1, seconds=1e-3), progress=False)
    assert made.rows == []
    assert [row["clip"] for row in made.left_out] == [
        *("M901_angry_001", "M901_happy_001", "M901_sad_001")
    ]
    assert {row["reason"] for row in made.left_out} == {"its sentence: it took longer than 0.001 s"}


@pytest.mark.parametrize("speaker", ["M901", "W777"])  # in a group, and matched by cost
def test_a_clip_of_minutes_is_no_sentence_and_is_not_aligned(root, speaker):
    """Of ten minutes it would take 100 times the time and memory of one of a minute."""
    for emotion in ("disgusted", "neutral"):
        add_clip(root, f"{speaker}_{emotion}_001", 20 if emotion == "neutral" else 40)
    config = PairsConfig(longest=39 / 25)
    made = make_pairs(root, config, progress=False)
    left_out = {row["clip"]: row["reason"] for row in made.left_out}
    reason = "it is longer than 1.56 s: no sentence (--longest)"
    assert left_out[f"{speaker}_disgusted_001"] == reason
    assert [name for name, why in left_out.items() if why == reason] == [f"{speaker}_disgusted_001"]
    with pytest.raises(ValueError, match="--longest and --seconds must be above 0"):
        PairsConfig(longest=0)
