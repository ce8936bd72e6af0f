"""EAMM's analyses: figures by hand, with networks that do as they should, and with random ones."""

import json
import re

import cv2
import numpy as np
import pytest
import torch

from affekt.media.faces.detector import Detection
from affekt.media.faces.points import BROWS
from affekt.media.video.video import probe
from affekt.nets.fingerprint import fingerprint
from affekt.runtime.config import ConfigError
from affekt.runtime.training import checkpoint
from eamm.analysis import supplement
from eamm.analysis.networks import (
    LIDS,
    RenderedFrames,
    align_faces,
    brow_height,
    change_figures,
    coverage,
    expression_projection,
    held_out_people,
    mean_face,
    motion_figures,
    open_networks,
    path_figures,
    pooled_share,
    summary,
    typical_frame,
)
from eamm.analysis.supplement import (
    alternating,
    clusters,
    dynamic_sources,
    emotional_inputs,
    interpolate,
)
from eamm.displacement.network import (
    Displacement,
    DisplacementDescription,
    save_displacement_description,
)
from eamm.fomm.keypoints import Keypoints
from tests.corpora.emotional_corpus import (
    BROW_SHIFT,
    MODEL,
    make_emotional_corpus,
    make_emotional_fomm,
    make_still_a2fd,
)
from tests.corpora.made_up_faces import plain_face

FACE = align_faces(plain_face(64)[None])[0]


def faces(brows, lids=0.0, mouth=0.0, face=FACE):
    """Return aligned faces (N, 68, 2) with brows `brows` px lower, upper lids, lower lip too."""
    brows, lids, mouth = np.broadcast_arrays(*map(np.atleast_1d, (brows, lids, mouth)))
    made = np.repeat(face[None], len(brows), axis=0)
    made[:, BROWS, 1] += brows[:, None]
    made[:, (37, 38, 43, 44), 1] += lids[:, None]
    made[:, (65, 66, 67), 1] += mouth[:, None]
    return made


def test_the_projection_is_that_of_brows_and_lids():
    start, end = faces([0.0, 8.0])
    across = start.copy()
    across[list(BROWS), 0] += 5
    across[list(range(17)), 1] += 50  # the jaw does not count
    found = expression_projection(np.stack([start, faces(2)[0], end, across]), start, end)
    np.testing.assert_allclose(found, [0, 0.25, 1, 0], atol=1e-12)
    assert np.isnan(expression_projection(end, start, start))
    # Frames without a face count nowhere.
    seen = faces([2.0, 4.0, 9.0])
    seen[2] = np.nan
    np.testing.assert_allclose(mean_face(seen), faces(3.0)[0])
    assert np.isnan(mean_face(seen[2:])).all()
    assert coverage(seen, seen[2:]) == pytest.approx(0.5)
    rows = [{"a": float("nan"), "b": b, "coverage": c} for b, c in ((1, 1), (2, 1), (9, 0.4))]
    assert summary(rows) == {"a": None, "b": 2, "coverage": pytest.approx(0.8)}


def test_a_path_between_emotions_by_hand():
    lips = np.array([0.0, 2.0, 5.0])
    way = [faces(np.full(3, b), mouth=lips) for b in (0, 3, 5, 4, 10)]
    found = path_figures(way)
    share = np.array([0, 0.3, 0.5, 0.4, 1])
    assert found["r"] == pytest.approx(np.corrcoef(share, [0, 0.25, 0.5, 0.75, 1])[0, 1])
    assert found["mouth_r"] == pytest.approx(1)
    still = path_figures([faces([0.0])] * 5)
    assert np.isnan([still["r"], still["mouth_r"]]).all()


def test_ways_to_give_an_emotion_by_hand():
    neutral, emotional = faces([0.0, 0.0]), faces([-5.0, -7.0])
    results = {"half": faces([-3.0]), "away": faces([6.0]), "lost": faces([np.nan])}
    found = change_figures(results, neutral + 3.0, emotional, neutral)
    plain = change_figures(results, neutral, emotional, neutral)
    for way, brows, share in (("half", 3, 0.5), ("away", 6, -1)):
        assert plain[way]["share"] == pytest.approx(share)
        assert plain[way]["change_px"] == pytest.approx(brows * 10 / 18)
    assert np.isnan(found["lost"]["share"])
    assert found["truth"]["change_px"] == pytest.approx(6 * 10 / 18)


def test_a_clip_that_hardly_changes_hardly_counts_and_the_typical_frame_is_no_blink():
    rows = [{"share": 0.5}, {"share": -9.0}, {"share": float("nan")}, {"share": 0.7}]
    assert pooled_share(rows, [1.0, 0.0, 100.0, 3.0]) == pytest.approx(0.65)
    assert pooled_share(rows[2:3], [1.0]) is None
    blinking = faces([0.0, 0.0, 0.0, 0.5], lids=[1.0, 6.0, 0.9, 0.5])
    blinking[3] = np.nan
    assert typical_frame(blinking) == 0


def test_motion_is_that_of_the_source_or_not():
    time = np.arange(40)
    source = faces(3 * np.sin(time / 4))
    dynamic = faces(1.5 * np.sin(time / 4))
    dynamic[7] = np.nan
    found = motion_figures(faces(np.where(time % 2, 0.1, -0.1)), dynamic, source)
    assert found["brows_r"] == pytest.approx(1)
    assert found["brows_static_px"] == pytest.approx(0.1)
    assert found["brows_source_px"] == pytest.approx((3 * np.sin(time / 4)).std())
    assert found["brows_dynamic_px"] == pytest.approx(np.delete(1.5 * np.sin(time / 4), 7).std())
    assert brow_height(faces([-2.0]))[0] - brow_height(faces([0.0]))[0] == pytest.approx(2)
    # A changing source takes turns and begins again.
    assert alternating(3, 10, 8, turn=2) == [
        (0, 0),
        (0, 1),
        (1, 2),
        (1, 3),
        (0, 1),
        (0, 2),
        (1, 6),
        (1, 7),
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("analyse") / "corpus"
    return make_emotional_corpus(root, speakers=4, held_out=2, frames=60)


class Ideal:
    """Networks that keep the portrait's brows, say nothing with them, and move them as told."""

    def portrait(self, clip, frame=0):
        return torch.full((1, 1), BROW_SHIFT[clip.emotion])

    def frames(self, clip, chosen):
        level = np.uint8(100 + 4 * BROW_SHIFT[clip.emotion])
        return np.full((len(chosen), 4, 4, 3), level, np.uint8)

    def features(self, frames):
        return torch.from_numpy((frames[:, 0, 0, :1] - 100.0) / 4)

    def audio_keypoints(self, portrait, sound, pose):
        brows = portrait.expand(sound.frames, 1)
        lips = torch.from_numpy(sound.windows()[:, 0, :1] / 10)
        return Keypoints(torch.cat([brows, lips], dim=1), torch.zeros(sound.frames, 1))

    def neutral(self, clip):
        return self.portrait(clip), self.audio_keypoints(self.portrait(clip), clip, None)

    def displaced(self, neutral, features):
        value = neutral.value.clone()
        value[:, :1] += features.expand(len(value), 1)
        return neutral._replace(value=value)

    def render(self, portrait, keypoints, chosen):
        brows, lips = keypoints.value[list(chosen)].numpy().T
        landmarks = faces(brows, mouth=lips, face=plain_face(64))
        return RenderedFrames(np.zeros((len(brows), 4, 4, 3), np.uint8), align_faces(landmarks))


def test_ideal_networks_go_straight_from_one_emotion_to_the_other(corpus, tmp_path):
    found = interpolate(Ideal(), held_out_people(corpus), [("angry", "happy")], tmp_path)
    assert found["r"] == pytest.approx(1)
    assert found["mouth_r"] == pytest.approx(1)
    assert cv2.imread(str(tmp_path / "interpolation.png")).shape == (172, 7 * 150, 3)
    with pytest.raises(ValueError, match=r"shows 'angry' and 'sad'; .*: angry, happy"):
        interpolate(Ideal(), held_out_people(corpus), [("angry", "sad")], tmp_path)


def test_ideal_networks_keep_the_portraits_expression_whatever_the_sound(corpus, tmp_path):
    found = emotional_inputs(Ideal(), corpus, held_out_people(corpus), tmp_path)
    for way, share in (("portrait", 1), ("sound", 0), ("displacement", 1), ("speech", 0)):
        assert found[way]["share"] == pytest.approx(share, abs=0.1), way  # people's faces differ
    assert found["displacement"]["change_px"] == pytest.approx(found["truth"]["change_px"], rel=0.1)
    assert found["sound"]["change_px"] < 1e-6
    assert (tmp_path / "a2fd_alone.png").is_file()


def test_ideal_networks_follow_a_changing_source_alone(corpus, tmp_path):
    found = dynamic_sources(Ideal(), held_out_people(corpus), "happy", tmp_path)["changing"]
    assert found["brows_r"] == pytest.approx(1, abs=1e-6)
    assert found["brows_static_px"] == pytest.approx(0, abs=1e-6)
    assert found["brows_dynamic_px"] == pytest.approx(found["brows_source_px"], rel=0.1)
    video = probe(tmp_path / "dynamic_source.mp4")
    assert (video.width, video.height, video.frames) == (3 * 150, 172, 60)
    with pytest.raises(ValueError, match="nobody held out shows 'sad'; known: angry, happy"):
        dynamic_sources(Ideal(), held_out_people(corpus), "sad", tmp_path)


def test_held_out_people_have_the_emotion_of_another_one(corpus):
    people = held_out_people(corpus)
    assert list(people) == ["M903", "M904"]
    for speaker, pairs in people.items():
        found = {emotion: (pair.clip.id, pair.source.speaker) for emotion, pair in pairs.items()}
        (other,) = people.keys() - {speaker}
        wanted = {name: (f"{speaker}_{name}_3_001", other) for name in ("angry", "happy")}
        assert found == wanted


def test_features_that_follow_the_emotion_cluster_by_it(corpus, tmp_path, monkeypatch):
    counted = []

    def codes(_networks, clip):
        counted.append(clip.id)
        feature = np.full(5, float(clip.emotion == "angry"))
        return {"feature": feature, "pixels": np.full(5, float(clip.speaker == "M903"))}

    monkeypatch.setattr(supplement, "_clip_codes", codes)
    found = clusters(None, corpus, tmp_path)
    assert found["feature"]["by_emotion"] == found["pixels"]["by_speaker"] == 1
    assert found["feature"]["by_speaker"] < 0.1 > found["pixels"]["by_emotion"]
    # At most so many of a person and emotion count; of one emotion there is no silhouette.
    counted.clear()
    angry = corpus.clips(emotion="angry")
    monkeypatch.setattr(supplement, "emotional_clips", lambda *_: [angry[0], *angry])
    monkeypatch.setattr(supplement, "CLUSTERED", 1)
    assert clusters(None, corpus, tmp_path)["feature"]["by_emotion"] is None
    assert counted == [clip.id for clip in angry]


class BrightnessDetector:
    """Finds the same face everywhere; its brows are lower in brighter pictures."""

    version = "made up"

    def detect(self, picture):
        assert picture.shape == (256, 256, 3)
        face = plain_face(256)
        face[list(BROWS), 1] += picture.mean() / 20
        face[list(LIDS), 1] += picture[:128].mean() / 50
        face[(65, 66, 67), 1] += picture[128:].mean() / 20
        return Detection(face.astype(np.float32), None)


@pytest.fixture
def runs(corpus, tmp_path, monkeypatch):
    """Random networks: nothing is learned, but everything runs."""
    monkeypatch.setattr(supplement, "make_detector", BrightnessDetector)
    monkeypatch.setattr(supplement, "FRAMES", 3)
    monkeypatch.setattr(supplement, "STRIDE", 6)
    fomm = make_emotional_fomm(tmp_path / "fomm")
    make_still_a2fd(tmp_path / "a2fd", fomm)
    write_displacement(tmp_path, fingerprint(fomm.detector))
    return tmp_path


def write_displacement(folder, teacher):
    model = Displacement(MODEL)
    for part in (*model.predictor.hidden, model.predictor.output):
        if isinstance(part, torch.nn.Linear):  # emotions are far apart, and move far
            torch.nn.init.normal_(part.weight, std=1.0)
    description = DisplacementDescription(MODEL, 32, teacher=teacher)
    save_displacement_description(folder / "displacement", description)
    checkpoint.save(folder / "displacement" / "checkpoints", 1, {"model": model})


def command(runs, corpus, *more):
    wishes = ["--blends", "angry:happy", "--emotion", "happy"]
    return [str(runs), "--corpus", str(corpus.root), *wishes, *more]


def test_the_command_writes_every_figure_and_picture_and_repeats_itself(runs, corpus, capsys):
    supplement.main(command(runs, corpus))
    out = runs / "analysis"
    names = ("interpolation", "a2fd_alone", "dynamic_source", "dynamic_source_tracks", "clusters")
    files = {*(f"{name}.png" for name in names), "dynamic_source.mp4"}
    assert {path.name for path in out.iterdir()} == {*files, "analysis.json", "table.md"}
    found = json.loads((out / "analysis.json").read_text())
    assert set(found) == {"interpolation", "a2fd_alone", "dynamic_source", "clusters"}
    assert found["a2fd_alone"]["displacement"]["change_px"] > 0
    shown = capsys.readouterr().out
    assert shown == (out / "table.md").read_text()
    assert shown.count("\n") == 2 + len(supplement.ROWS)
    value = found["clusters"]["pixels"]["by_speaker"]
    assert re.search(rf"\| clusters.pixels.by_speaker +\| +{value:.2f} \|", shown)

    supplement.main(command(runs, corpus, "--out", str(runs / "again")))
    assert (runs / "again" / "analysis.json").read_text() == (out / "analysis.json").read_text()


def test_wishes_that_cannot_be_met_end_it_in_one_line(runs, corpus):
    for option, text, message in (
        ("--blends", "angry", "'angry' is not of the form a:b"),
        ("--blends", "angry:angry", "'angry:angry' is not of the form a:b"),
        ("--blends", "angry:sad", "shows 'angry' and 'sad'"),
        ("--emotion", "neutral", "nobody held out shows 'neutral'"),
        ("--corpus", "nowhere", "nowhere is no prepared corpus"),
    ):
        with pytest.raises(SystemExit, match=f": .*{message}"):
            supplement.main(command(runs, corpus, option, text))


def test_runs_that_do_not_belong_together_are_refused(runs, tmp_path):
    write_displacement(runs, "0" * 16)
    with pytest.raises(ConfigError, match="moves the keypoints of detector 0000"):
        open_networks(runs, None)
    (runs / "displacement" / "displacement.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither a run of train_emotion_displacement\.py"):
        open_networks(runs, None)


def test_without_a_face_the_table_says_so(runs, corpus, monkeypatch):
    blind = BrightnessDetector()
    blind.detect = lambda picture: None
    monkeypatch.setattr(supplement, "make_detector", lambda: blind)
    supplement.main(command(runs, corpus))
    text = (runs / "analysis" / "table.md").read_text()
    assert re.search(r"\| interpolation.r +\| +n/a \|", text)
