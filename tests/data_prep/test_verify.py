"""`inspect --verify` reads every file that data_prep writes into a corpus: no damage is silent."""

import json

import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.integrity import PAIRS, check_pairs, read_sealed
from affekt.runtime.files import DamagedFileError
from data_prep import flow, inspect, pose
from data_prep.face_model import Config as ModelConfig
from data_prep.face_model import learn
from data_prep.pairs import PairsConfig, make_pairs
from data_prep.prepare import prepare
from tests.corpora.drawn_face import folder_config, talking_clip

pytestmark = pytest.mark.usefixtures("one_detector")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A share of a corpus (of one), with poses, flow and pairs."""
    folder = tmp_path_factory.mktemp("verify")
    for name in ("ann_happy_1", "ann_sad_1", "ann_neutral_2"):
        talking_clip(folder / "raw" / f"{name}.mp4", 8, 128)
    (folder / "raw/ann_sad_2.mp4").touch()  # refused, so that no list is empty
    config = folder_config(folder / "raw", folder / "out", shard="0/1")
    prepare(config)
    root = config.place
    learn(ModelConfig(root, folder / "model.npz", progress=False))
    pose.fit_corpus(pose.Config(root, folder / "model.npz", progress=False))
    flow.make_flow(flow.Config(root, progress=False))
    made = make_pairs(root, PairsConfig(), progress=False)
    assert (len(made.rows), len(made.left_out)) == (2, 1)
    return root


def faults(root):
    try:
        return inspect.verify(Corpus(root), workers=2, progress=False)[0]
    except DamagedFileError as error:
        return [str(error)]


def test_every_kind_of_file_is_covered(root):
    """One of each kind: a byte flipped at 6 places, a byte less, half of it, nothing of it."""
    rng = np.random.default_rng(0)
    kinds = {path.name: path for path in sorted(root.rglob("*.*")) if path.name != ".lock"}
    assert set(kinds) == {
        *("corpus.json", "manifest.jsonl", "quarantine.jsonl", "shard.json"),
        *("clip.json", "crop.json", "audio.wav", "mfcc.npy", "landmarks.npy", "landmarks3d.npy"),
        *("frames.jpegs", "pose.json", "pose.npy", "flow.json", "flow.pngs"),
        *("pairs.json", "pairs.jsonl", "left_out.jsonl", "happy.npy", "sad.npy"),
    }
    paths = [*kinds.values(), root / "pose.json", root / "flow.json"]
    assert faults(root) == []
    for path in dict.fromkeys(paths):
        good = path.read_bytes()
        places = [0, len(good) - 1, *rng.integers(len(good), size=4)]
        flipped = [good[:k] + bytes([good[k] ^ (1 << k % 8)]) + good[k + 1 :] for k in places]
        for bad in (*flipped, good[:-1], good[: len(good) // 2], b""):
            path.write_bytes(bad)
            found = faults(root)
            assert [str(path) in line for line in found] == [True], (path, found)
        path.write_bytes(good)
    assert faults(root) == []


def test_a_seal_that_is_lost_with_its_name_is_missed(root):
    """One flipped letter of `seal` does not make a file one of before there were seals."""
    for path in (root / "pose.json", root / "shard.json", root / "pairs" / PAIRS):
        good = path.read_bytes()
        path.write_bytes(good.replace(b'"seal"', b'"sea1"'))
        (line,) = faults(root)
        assert f"{path} is damaged: it is not as it was written" in line
        path.write_bytes(good)


def test_a_file_of_pairs_that_is_gone_is_named_and_the_same_command_mends_damage(root):
    path = root / "pairs/ann/1/sad.npy"
    good = path.read_bytes()
    path.unlink()
    assert faults(root) == [
        f"{path} is missing; run the same data_prep.pairs, which writes it anew"
    ]
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert make_pairs(root, PairsConfig(), progress=False).kept == 1
    assert path.read_bytes() == good
    assert faults(root) == []


def test_a_damaged_list_of_pairs_is_not_learned_from(root):
    path = root / "pairs/pairs.jsonl"
    good = path.read_bytes()
    path.write_bytes(good.splitlines(True)[0])
    with pytest.raises(DamagedFileError, match=r"has 1 lines, wanted 2, .*data_prep\.pairs"):
        check_pairs(root)
    changed = good.replace(b'"split": "train"', b'"split": "tra9n"')
    assert changed != good
    for bad in (good[:-3], changed):  # nothing of it is taken over
        path.write_bytes(bad)
        assert make_pairs(root, PairsConfig(), progress=False).kept == 0
        assert path.read_bytes() == good


def test_pairs_and_sums_of_before_there_were_checksums_are_read_as_they_are(root):
    names = ("pose.json", "flow.json", "shard.json", "pairs/pairs.json", "pairs/pairs.jsonl")
    kept = {root / name: (root / name).read_bytes() for name in names}
    for path in [*kept][:3]:
        record = {k: v for k, v in read_sealed(path).items() if k not in ("files", "seal")}
        path.write_text(json.dumps(record, indent=2) + "\n")
    (root / "pairs/pairs.json").unlink()
    rows = check_pairs(root)
    old = [{k: v for k, v in row.items() if k not in ("size", "sha256")} for row in rows]
    (root / "pairs/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    assert faults(root) == []
    assert len(check_pairs(root)) == 2
    assert make_pairs(root, PairsConfig(), progress=False).kept == 2  # and adds what was missing
    assert check_pairs(root) == rows
    for path, data in kept.items():
        path.write_bytes(data)
    assert faults(root) == []
