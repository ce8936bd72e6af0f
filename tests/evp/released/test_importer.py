"""Importing EVP's released files: all of it accounted for and computed alike, or one refusal."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import tests.corpora.evp_definition as released
from affekt.media.audio.mfcc import sound_windows
from affekt.media.emotions import EMOTIONS
from affekt.media.faces.schemes import SENSE106, to_ibug68
from affekt.runtime.run import restore
from evp.inference.emotion_codes import load_codes
from evp.inference.landmarks import Emotion, audio_to_landmarks
from evp.landmark_space import load_space, unflatten
from evp.networks.audio2lm import (
    Audio2Landmark,
    Audio2LandmarkConfig,
    load_predictor,
    predict_landmarks,
)
from evp.networks.disentangle import DisentanglementConfig
from evp.networks.encoders import (
    AudioDecoder,
    AudioDecoderConfig,
    EmotionClassifier,
    Encoders,
    EncodersConfig,
    encode,
    load_description,
    load_encoders,
    load_pretrained,
)
from evp.released.importer import import_released, main
from evp.released.models import read_model
from tests.corpora.evp_layout import (
    PUBLISHED,
    SMALL,
    audio2lm_file,
    content_file,
    disentangle_file,
    emotion_file,
    feature_files,
    landmark_files,
)
from tests.corpora.import_refusals import import_or_one_line
from tests.corpora.released_layout import save, small_fomm

WINDOWS = 20 * torch.randn(5, 28, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """An import of every kind of file of one speaker, and the report."""
    folder = tmp_path_factory.mktemp("evp")
    files = [
        save(audio2lm_file(), folder / "M003_20.pth"),
        save(disentangle_file(), folder / "99_pretrain.pth"),
        save(emotion_file(), folder / "SER_99.pkl"),
        save(content_file(), folder / "atnet_lstm_18.pth", legacy=False),
        *landmark_files(folder),
        *feature_files(folder),
    ]
    return folder, import_released(files, folder / "out", "M003")


def files_of(folder):
    """Paths of a small audio2lm checkpoint with its basis and mean."""
    return [save(audio2lm_file(), folder / "M003_20.pth"), *landmark_files(folder)]


def test_sizes_of_the_published_network_are_the_defaults(tmp_path):
    read = read_model(save(audio2lm_file(PUBLISHED), tmp_path / "M003_20.pth", legacy=False))
    assert read.encoders.encoders == EncodersConfig()
    identity = {"identity_dim": 512, "identity_hidden": 256, "identity_from": "components"}
    wanted = Audio2LandmarkConfig(**identity, head_hidden=0, output="components", scheme="sense106")
    assert read.landmarks == wanted
    assert (wanted.hidden, wanted.layers, wanted.components) == (256, 3, 16)
    assert len(read.names) + len(read.left_out) == len(audio2lm_file(PUBLISHED))


def test_the_networks_compute_what_the_releases_do(everything):
    folder, _ = everything
    state, basis, mean = audio2lm_file(), *_faces(folder)
    predictor = load_predictor(folder / "out" / "audio2lm")
    told = []
    predictor.model.identity.register_forward_pre_hook(lambda _, given: told.append(given[0][0]))
    with torch.no_grad():
        content = released.content_code(state, WINDOWS)
        emotion = released.emotion_code(state, WINDOWS)
        assert content.std() > 0.01  # a dead code would agree with anything
        assert emotion.std() > 0.01
        torch.testing.assert_close(encode(predictor.encoders.content, WINDOWS), content)
        torch.testing.assert_close(encode(predictor.encoders.emotion, WINDOWS), emotion)
        for away in (torch.zeros(3), torch.tensor([0.3, -0.2, 0.1])):  # 0: the public template
            template = mean + basis @ away
            wanted = released.landmarks(state, content, emotion, template, mean, basis)
            ours = predictor.model(content[None], emotion[None], (template * 255 / 256)[None])[0]
            torch.testing.assert_close(ours * 256 / 255, wanted, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(told[-1], away, atol=1e-5, rtol=1e-5)
    assert (wanted - template).abs().max() > 1e-3
    assert wanted.std(dim=0).max() > 1e-4  # it moves


def test_the_speakers_neutral_face_is_the_releases_mean(everything):
    folder, _ = everything
    _, mean = _faces(folder)
    run = folder / "out" / "audio2lm"
    space, loaded = load_space(run / "landmark_space.npz"), load_predictor(run).model
    assert space.scheme is SENSE106
    pixels = unflatten(space.neutral_of("M003"))
    np.testing.assert_allclose(pixels, 255 * mean.numpy().reshape(106, 2), atol=1e-3)
    built = Audio2Landmark(loaded.config, 10, space)
    torch.testing.assert_close(built.basis_KL, loaded.basis_KL)  # for a training from it
    torch.testing.assert_close(built.mean_L, loaded.mean_L)


def test_disentanglement_computes_what_the_releases_does(everything):
    folder, _ = everything
    state = disentangle_file()["model"]
    encoders = load_encoders(folder / "out" / "disentangle")
    sizes = DisentanglementConfig(encoders.config, AudioDecoderConfig(SMALL["decoder"]))
    decoder = AudioDecoder(sizes.decoder, 10)
    classifier = EmotionClassifier(4, len(EMOTIONS))
    restore(folder / "out" / "disentangle", decoder=decoder, classifier=classifier)
    with torch.no_grad():
        content = released.content_code(state, WINDOWS)
        emotion = released.emotion_code(state, WINDOWS)
        torch.testing.assert_close(encode(encoders.content, WINDOWS), content)
        torch.testing.assert_close(encode(encoders.emotion, WINDOWS), emotion)
        wanted = released.window_of(state, content, emotion)
        assert wanted.std() > 0.1
        torch.testing.assert_close(decoder.eval()(content, emotion), wanted, atol=1e-3, rtol=1e-4)
        logits = emotion @ state["classify.last_fc.weight"].T + state["classify.last_fc.bias"]
        torch.testing.assert_close(classifier(emotion), logits)


def test_pretrained_encoders_start_a_training(everything):
    folder, _ = everything
    runs = {part: folder / "out" / f"pretrain_{part}" for part in ("content", "emotion")}
    sizes = [getattr(load_description(run).encoders, part) for part, run in runs.items()]
    encoders = Encoders(EncodersConfig(*sizes))
    for part, run in runs.items():
        load_pretrained(encoders, part, run)
    content, emotion = (
        {key.removeprefix("module."): value for key, value in file.items()}
        for file in (content_file(), emotion_file())
    )
    with torch.no_grad():
        wanted = released.content_code(content, WINDOWS, "")
        torch.testing.assert_close(encode(encoders.content, WINDOWS), wanted)
        wanted = released.emotion_code(emotion, WINDOWS, "")
        torch.testing.assert_close(encode(encoders.emotion, WINDOWS), wanted)
    classifier = EmotionClassifier(4, len(EMOTIONS))
    restore(runs["emotion"], classifier=classifier)
    assert torch.equal(classifier.weight, emotion["last_fc.weight"])


def test_every_key_is_mapped_or_left_out_with_a_reason(everything):
    _, report = everything
    contents = {
        "audio2lm": ("M003_20.pth", audio2lm_file()),
        "disentangle": ("99_pretrain.pth", disentangle_file()["model"]),
        "pretrain_emotion": ("SER_99.pkl", emotion_file()),
        "pretrain_content": ("atnet_lstm_18.pth", content_file()),
    }
    assert report.models.keys() == contents.keys()
    left = {name for names in report.left_out.values() for name in names}
    for model, (file, state) in contents.items():
        taken = report.models[model]["names"].keys()
        keys = {key.removeprefix("module.") for key in state}
        rest = {name.removeprefix(f"{file}: ") for name in left if name.startswith(f"{file}: ")}
        assert taken | rest == keys
        assert not taken & rest
    counts = {reason.split()[0]: len(names) for reason, names in report.left_out.items()}
    assert counts == {"the": 4, "layers": 2, "ATVGnet's": 5}
    steps = next(source for source in report.sources if source["file"] == "99_pretrain.pth")
    assert (steps["epoch"], steps["train_step"], steps["test_step"]) == (99, 40, 7)
    files = {source["file"] for source in report.sources}
    assert files == {file for file, _ in contents.values()} | {
        *(f"M003_{name}_106.npy" for name in ("U", "mean")),
        *(f"{label}.npy" for label in (*EMOTIONS, "disgust") if label != "disgusted"),
    }


def test_imported_features_are_the_codes_that_generate_reads(everything):
    folder, _ = everything
    codes, features = load_codes(folder / "out" / "audio2lm"), folder / "M003_feature"
    angry, disgust = (np.load(features / f"{label}.npy") for label in ("angry", "disgust"))
    np.testing.assert_array_equal(codes.of("disgusted", "M003"), disgust)
    np.testing.assert_array_equal(codes.of("disgusted"), disgust)
    blend = codes.blend("angry:disgusted:0.3", "M003")
    np.testing.assert_allclose(blend, 0.7 * angry + 0.3 * disgust, rtol=1e-6)


def test_an_imported_speaker_speaks_with_the_68_points_of_the_pipeline(everything):
    folder, _ = everything
    run = folder / "out" / "audio2lm"
    predictor = load_predictor(run)
    sound = np.random.default_rng(0).normal(0, 0.1, 640 * 12).astype(np.float32)
    face = audio_to_landmarks(predictor, run, sound, "M003", Emotion(label="happy"))
    assert face.shape == (12, 68, 2)
    basis, mean = _faces(folder)
    state = audio2lm_file()
    with torch.no_grad():
        content = released.content_code(state, torch.from_numpy(np.array(sound_windows(sound))))
        happy = torch.from_numpy(np.load(folder / "M003_feature" / "happy.npy")).expand(12, -1)
        wanted = released.landmarks(state, content, happy, mean, mean, basis)
    wanted = to_ibug68(255 * wanted.numpy().reshape(12, 106, 2))
    np.testing.assert_allclose(face, wanted, atol=0.01)  # pixels
    sad = audio_to_landmarks(predictor, run, sound, "M003", Emotion(label="sad"))
    assert np.abs(sad - face).max() > 1e-3
    with pytest.raises(ValueError, match="M030"):
        audio_to_landmarks(predictor, run, sound, "M030", Emotion(label="happy"))


def test_faces_of_another_scheme_do_not_fit_the_network(everything):
    folder, _ = everything
    predictor = load_predictor(folder / "out" / "audio2lm")
    with pytest.raises(ValueError, match=r"106 landmarks of sense106.*set its scheme"):
        Audio2Landmark(replace(predictor.model.config, scheme="ibug68"), 10, predictor.space)
    with pytest.raises(ValueError, match="identity_from=components"):
        Audio2LandmarkConfig(identity_from="components")
    model, encoders, neutral = predictor.model, predictor.encoders, np.full((68, 2), 128.0)
    with pytest.raises(ValueError, match=r"\(68, 2\).*wanted.*106"):
        predict_landmarks(model, encoders, WINDOWS.numpy(), np.zeros(4), neutral)


def _faces(folder):
    basis = torch.from_numpy(np.load(folder / "M003_U_106.npy"))[:, : SMALL["components"]]
    return basis, torch.from_numpy(np.load(folder / "M003_mean_106.npy")).float()


def test_two_speakers_are_never_mixed(tmp_path):
    files = files_of(tmp_path)
    with pytest.raises(ValueError, match=r"M003_20\.pth is of M003, this import of M030"):
        import_released(files, tmp_path / "out", "M030")
    with pytest.raises(ValueError, match="of M030"):
        import_released([*files, feature_files(tmp_path, 4, "M030")[0]], tmp_path / "out", "M003")


# Checkpoints that do not fit


MISFITS = [  # a weight, None: without it, and what the refusal names
    ("decoder.lstm.weight_hh_l1", None, r"model\.lstm\.weight_hh_l1 is missing"),
    ("con_encoder.audio_eocder.3.0.weight", None, r"content_encoder\.convolutions\.3\.0\.weight"),
    ("decoder.fc_em.0.weight", torch.zeros(3, 3), r"1 weights of no release: decoder\.fc_em\.0\.w"),
    (
        "lm_encoder.lmark_encoder.0.weight",
        torch.zeros(5, 9),
        r"lmark_encoder\.0\.weight has shape \(5, 9\), wanted \(5, 3\)",
    ),
    ("decoder.lstm_fc.0.bias", [1.0], r"decoder\.lstm_fc\.0\.bias is a list"),
    ("decoder.lstm.weight_hh_l0", torch.zeros(4), r"M003_20\.pth"),
    ("module.lm_encoder.lmark_encoder.0.bias", torch.zeros(5), "twice"),
]


@pytest.mark.parametrize(("key", "value", "words"), MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, key, value, words):
    files = files_of(tmp_path)
    state = audio2lm_file() | {key: value}
    save({k: v for k, v in state.items() if v is not None}, files[0])
    with pytest.raises(ValueError, match=words) as refusal:
        import_released(files, tmp_path / "out", "M003")
    assert str(files[0]) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_its_faces_says_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"M003_20\.pth.*_U_106\.npy and <ID>_mean_106\.npy"):
        import_released(files_of(tmp_path)[:1], tmp_path / "out", "M003")


def test_a_classifier_of_other_emotions_is_refused(tmp_path):
    file = disentangle_file()
    for part in ("weight", "bias"):
        file["model"][f"classify.last_fc.{part}"] = file["model"][f"classify.last_fc.{part}"][:7]
    with pytest.raises(ValueError, match="7 classes, wanted 8"):
        import_released([save(file, tmp_path / "a.pth")], tmp_path / "out", "M003")


def test_what_lies_beside_the_networks_is_named(tmp_path):
    file = {**disentangle_file(), "optimizer": {"state": {}}}
    report = import_released([save(file, tmp_path / "a.pth")], tmp_path / "out", "M003")
    assert "a.pth: optimizer" in {name for names in report.left_out.values() for name in names}


def test_other_files_are_named_with_what_was_expected(tmp_path):
    strangers = {
        "eamm": (small_fomm(), "eamm.released.importer"),
        "own": ({"step": 1, "rng": {}, "parts": {}}, "run folder"),
        "tensor": (torch.zeros(3), "holds a Tensor"),
        "other": ({"state_dict": {}, "lr": 0.1}, "state_dict, lr"),
    }
    for name, (content, words) in strangers.items():
        with pytest.raises(ValueError, match=words) as refusal:
            import_released([save(content, tmp_path / f"{name}.pth")], tmp_path / "out", "M003")
        assert len(str(refusal.value).splitlines()) == 1
    array = landmark_files(tmp_path)[0].rename(tmp_path / "U.pth")
    with pytest.raises(ValueError, match=r"a numpy array; wanted.*<speaker>_20\.pth"):
        import_released([array], tmp_path / "out", "M003")
    with pytest.raises(FileNotFoundError, match="no file"):
        import_released([tmp_path / "absent.pth"], tmp_path / "out", "M003")


@pytest.mark.parametrize("legacy", [True, False])
def test_cut_off_and_altered_checkpoints_end_in_one_line(tmp_path, legacy):
    whole = io.BytesIO()
    torch.save(disentangle_file(), whole, _use_new_zipfile_serialization=not legacy)
    good, rng = whole.getvalue(), np.random.default_rng(0)
    path = tmp_path / "a.pth"
    for attempt in range(40):
        bad = bytearray(good)
        if attempt % 2:
            del bad[int(rng.integers(len(bad))) :]
        else:
            for place in rng.integers(0, min(len(bad), 4000), 8):
                bad[place] = rng.integers(256)
        path.write_bytes(bad)
        import_or_one_line(path, tmp_path / "out", must_fail=bool(attempt % 2))


# The folder and the command


def test_a_folder_of_other_files_is_never_replaced(tmp_path):
    files = files_of(tmp_path)
    trained = tmp_path / "run" / "audio2lm"
    trained.mkdir(parents=True)
    (trained / "audio2lm.yaml").write_text("precious")
    with pytest.raises(ValueError, match="of no import"):
        import_released(files, tmp_path / "run", "M003")
    assert (trained / "audio2lm.yaml").read_text() == "precious"
    import_released(files, tmp_path / "out", "M003")
    import_released(files, tmp_path / "out", "M003")  # its own is
    (tmp_path / "out" / "notes.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"notes\.txt, of no import"):
        import_released(files, tmp_path / "out", "M003")
    with pytest.raises(ValueError, match="of the same kind"):
        import_released([*files, files[0]], tmp_path / "new", "M003")


def test_the_command_prints_a_summary_and_ends_wrong_files_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    main(["--speaker", "M003", "--out", str(out), *map(str, files_of(tmp_path))])
    printed = capsys.readouterr().out
    assert "wrote audio2lm: " in printed
    assert "wrote landmark_space: 3 components, sense106" in printed
    assert "left out 2 (the classifier" in printed
    names = json.loads((out / "import.json").read_text())["models"]["audio2lm"]["names"]
    assert names["lm_encoder.lmark_encoder.0.bias"] == "model.identity.0.bias"
    assert names["emo_encoder.emotion_eocder_fc.2.bias"] == "emotion_encoder.dense.3.bias"
    with pytest.raises(SystemExit, match="no file"):
        main([str(tmp_path / "absent"), "--out", str(out), "--speaker", "M003"])
