"""User studies: who sees what is fair and blind, a browser completes one, and answers count."""

import argparse
import json
import random
import re
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import av
import numpy as np
import pytest

from affekt.evaluation.commands import user_study as command
from affekt.evaluation.pairing import Case
from affekt.evaluation.user_study.answers import checked, figures, read_sheets
from affekt.evaluation.user_study.design import (
    PROTOCOLS,
    REAL,
    choose_clips,
    choose_examples,
    make_key,
)
from affekt.evaluation.user_study.files import read_key
from affekt.media.emotions import EMOTIONS
from affekt.media.video.video import VideoWriter, probe, read_frames
from affekt.metrics.intervals import mean_interval, wilson_interval
from tests.affekt.showcase.test_page import CHROMIUM, QUIET

PLAYING = [*QUIET, "--mute-audio", "--autoplay-policy=no-user-gesture-required"]
EVP, XU = PROTOCOLS["evp-fig6"], PROTOCOLS["xu-table2"]
METHODS = ["real", "secretmethod", "hiddenmethod"]


def cases(speakers=3, each=4):
    return [
        Case(f"S{s}_{emotion}_{k}", None, None, f"S{s}", emotion)
        for s in range(speakers)
        for emotion in EMOTIONS
        for k in range(each)
    ]


def study_key(participants=6, each=None, clips=3, protocol=EVP, seed=0):
    truths = cases()
    chosen, _ = choose_clips(truths, {}, clips, seed)
    examples = choose_examples(truths, chosen, seed) if protocol.emotion else {}
    return make_key(protocol, METHODS, chosen, examples, participants, each, seed)


def sheet(key, participant, rating=4, choose=lambda item: item.emotion):
    """Answers as the form saves them."""
    answers = []
    questions = [question.key for question in PROTOCOLS[key.protocol].questions]
    for task, tokens in key.participants[participant - 1].items():
        for token in tokens:
            item = key.items[token]
            entry = {"item": token, "task": task}
            if task == "rate":
                value = rating(item) if callable(rating) else rating
                entry["ratings"] = dict.fromkeys(questions, value)
            else:
                entry["emotion"] = choose(item)
            answers.append(entry)
    return {"schema": 1, "study": key.study, "participant": participant, "answers": answers}


# --- who sees what


def test_evps_study_has_72_videos_of_each_method_in_both_tasks():
    key = study_key(participants=50)
    assert len(key.items) == 2 * 72 * 3
    for task in ("rate", "choose"):
        shown = [key.items[token] for token in key.participants[0][task]]
        assert Counter(item.method for item in shown) == dict.fromkeys(METHODS, 72)
        cells = Counter((item.method, item.speaker, item.emotion) for item in shown)
        assert set(cells.values()) == {3}
        assert len(cells) == 3 * 3 * 8
        assert {item.task for item in shown} == {task}
    orders = {tuple(order["rate"]) for order in key.participants}
    assert len(orders) == 50  # everyone's own order
    assert {frozenset(order["rate"]) for order in key.participants} == {frozenset(orders.pop())}


def test_a_subset_is_fair_to_methods_videos_and_people():
    key = study_key(participants=30, each=24)
    seen = Counter()
    for order in key.participants:
        shown = [key.items[token] for token in order["rate"]]
        assert len(set(order["rate"])) == 24
        methods = Counter(item.method for item in shown)
        assert max(methods.values()) - min(methods.values()) <= 2
        # no sentence twice, but for a hand that runs over the end of a round
        assert len({item.clip for item in shown}) >= 20
        later = [key.items[token] for token in order["choose"]]
        pair = [{(item.method, item.clip) for item in part} for part in (shown, later)]
        assert pair[0] == pair[1]
        seen.update((item.method, item.clip) for item in shown)
    assert len(seen) == 216
    assert set(seen.values()) <= {3, 4}  # 30 * 24 / 216


def test_the_order_is_not_the_deals_and_the_tasks_have_their_own():
    order = study_key().participants[0]
    key = study_key()
    parts = [[(key.items[t].method, key.items[t].clip) for t in order[task]] for task in order]
    assert sorted(parts[0]) == sorted(parts[1])
    assert parts[0] != parts[1]
    same = sum(a[0] == b[0] for a, b in pairwise(parts[0]))
    assert 0.2 < same / len(parts[0]) < 0.47  # a third, as chance has it; 0 if dealt in turn
    assert not set(order["rate"]) & set(order["choose"])  # a file name does not link the tasks


def test_the_seed_decides_everything():
    assert study_key() == study_key()
    other = study_key(seed=1)
    assert other.study != study_key().study
    assert not other.items.keys() & study_key().items.keys()
    shuffled = cases()
    random.Random(3).shuffle(shuffled)
    assert choose_clips(shuffled, {}, 3, 0) == choose_clips(cases(), {}, 3, 0)


def test_missing_clips_are_named():
    truths = cases(speakers=1, each=2)
    have = {"a": {case.id for case in truths} - {"S0_fear_1"}, "b": {case.id for case in truths}}
    chosen, gaps = choose_clips(truths, have, 2, 0)
    assert gaps == ["S0, fear: 1 of 2 clips; a lacks S0_fear_1"]
    assert "S0_fear_1" not in {case.id for case in chosen}
    without_sad = [case for case in truths if case.emotion != "sad"]
    assert choose_clips(without_sad, {}, 2, 0)[1] == ["S0, sad: 0 of 2 clips"]
    assert choose_clips(without_sad, {}, None, 0)[1] == []  # all there are
    with pytest.raises(ValueError, match="no clip is there of every method"):
        choose_clips(truths, {"a": set()}, 2, 0)
    with pytest.raises(ValueError, match="1 clips have no speaker or no emotion, x first"):
        choose_clips([Case("x", None)], {}, 2, 0)


def test_examples_are_not_asked_about_where_there_are_others():
    truths = cases(each=4)
    chosen, _ = choose_clips(truths, {}, 3, 0)
    examples = choose_examples(truths, chosen, 0)
    assert list(examples) == list(EMOTIONS)
    assert all(emotion in clip for emotion, clip in examples.items())
    assert not set(examples.values()) & {case.id for case in chosen}
    assert set(choose_examples(truths, truths, 0)) == set(EMOTIONS)


def test_impossible_studies_are_refused():
    for participants, each in ((0, None), (3, 0), (3, 217)):
        with pytest.raises(ValueError, match=f"{participants} participants with"):
            study_key(participants, each)


# --- answers


def test_figures_by_hand():
    key = study_key(participants=3, each=9)
    sheets = [
        checked(sheet(key, 1, rating=5), key),
        checked(sheet(key, 2, rating=2, choose=lambda item: "happy"), key),
    ]
    found = figures(sheets, key)
    assert found["participants"] == 2
    for method, figure in found["methods"].items():
        asked = [
            [key.items[token] for token in order["rate"] if key.items[token].method == method]
            for order in key.participants[:2]
        ]
        counts = [len(items) for items in asked]
        sync = figure["ratings"]["sync"]
        assert sync["value"] == pytest.approx((5 * counts[0] + 2 * counts[1]) / sum(counts))
        assert sync["answers"] == sum(counts)
        people = ["1"] * counts[0] + ["2"] * counts[1]
        interval = mean_interval([5] * counts[0] + [2] * counts[1], people)
        assert (sync["low"], sync["high"]) == (interval.low, interval.high)
        right = counts[0] + sum(item.emotion == "happy" for item in asked[1])
        accuracy = figure["emotion"]["accuracy"]
        assert accuracy["value"] == pytest.approx(right / sum(counts))
        assert accuracy["low"] == wilson_interval(right, sum(counts)).low
        confusion = np.zeros((8, 8), int)
        for item in asked[0]:
            confusion[EMOTIONS.index(item.emotion), EMOTIONS.index(item.emotion)] += 1
        for item in asked[1]:
            confusion[EMOTIONS.index(item.emotion), EMOTIONS.index("happy")] += 1
        assert figure["emotion"]["confusion"] == confusion.tolist()


def test_ratings_go_to_the_method_that_made_the_video():
    key = study_key(participants=2)
    given = {"real": 5, "secretmethod": 3, "hiddenmethod": 1}
    sheets = [
        checked(sheet(key, person, lambda item: given[item.method], lambda _: "sad"), key)
        for person in (1, 2)
    ]
    found = figures(sheets, key)["methods"]
    for method, rating in given.items():
        values = found[method]["ratings"]["quality"]
        assert (values["value"], values["low"], values["high"]) == (rating, rating, rating)
        assert found[method]["emotion"]["accuracy"]["value"] == 1 / 8


def test_one_participant_has_no_interval_and_chance_is_an_eighth():
    key = study_key(participants=1)
    rng = random.Random(0)
    found = figures([checked(sheet(key, 1, 3, lambda _: rng.choice(EMOTIONS)), key)], key)
    quality = found["methods"]["real"]["ratings"]["quality"]
    assert (quality["value"], quality["low"], quality["high"]) == (3, None, None)
    everyone = np.sum([m["emotion"]["confusion"] for m in found["methods"].values()], axis=0)
    assert np.trace(everyone) / everyone.sum() == pytest.approx(1 / 8, abs=0.06)


def edited(key, **changes):
    return sheet(key, 1) | changes


def with_first(key, **changes):
    raw = sheet(key, 1)
    raw["answers"][0] = {**raw["answers"][0], **changes}
    return raw


def test_sheets_that_do_not_fit_are_refused_with_the_reason():
    key = study_key(participants=2, each=9)
    good = sheet(key, 1)
    first, last = good["answers"][0], good["answers"][-1]
    assert checked(good, key).participant == 1
    stranger = next(iter(set(key.participants[1]["rate"]) - set(key.participants[0]["rate"])))
    for raw, message in (
        ([], "not a sheet"),
        ({**good, "name": "Eve"}, "not a sheet"),
        (edited(key, study="f" * 16), "of study 'ffff"),
        (edited(key, schema=2), "schema 2"),
        (edited(key, participant=3), "participant 3; there are 1 to 2"),
        (edited(key, participant=True), "participant True"),
        (edited(key, participant="1"), "participant '1'"),
        (edited(key, answers={}), "answers are dict"),
        (edited(key, answers=[7]), "answer 1: None is no video"),
        (with_first(key, item=["x"]), r"answer 1: \['x'\] is no video"),
        (with_first(key, item="nobody"), "answer 1: 'nobody' is no video"),
        (with_first(key, item=stranger), "is no video that this participant sees"),
        (with_first(key, task="choose"), "answer 1: wanted item, task 'rate' and ratings"),
        (with_first(key, extra=1), "answer 1: wanted item, task"),
        (with_first(key, ratings={"sync": 3}), "wanted ratings of quality, sync"),
        (with_first(key, ratings={"sync": 3, "quality": 6}), "quality is 6, wanted 1 to 5"),
        (with_first(key, ratings={"sync": 0, "quality": 5}), "sync is 0, wanted 1 to 5"),
        (with_first(key, ratings={"sync": 2.5, "quality": 5}), "sync is 2.5"),
        (with_first(key, ratings={"sync": True, "quality": 5}), "sync is True"),
        (with_first(key, ratings=None), "wanted ratings of"),
        (edited(key, answers=[*good["answers"][:-1], {**last, "emotion": "bored"}]), "'bored' is"),
        (edited(key, answers=[*good["answers"][:-1], {**last, "emotion": []}]), r"\[\] is none"),
        (edited(key, answers=[*good["answers"], first]), f"{first['item']} is answered twice"),
        (edited(key, answers=good["answers"][:5]), "13 of 18 answers are missing"),
    ):
        with pytest.raises(ValueError, match=message):
            checked(raw, key)
    assert len(checked(edited(key, answers=good["answers"][:5]), key, True).answers) == 5


def test_a_bad_file_is_listed_and_stops_nothing(tmp_path):
    key = study_key(participants=3, each=9)
    for name, text in (
        ("a.json", json.dumps(sheet(key, 1))),
        ("again.json", json.dumps(sheet(key, 1, rating=1))),
        ("b.json", json.dumps(sheet(key, 3))),
        ("cut.json", json.dumps(sheet(key, 2))[:-9]),
        ("deep.json", "[" * 100_000),
        ("empty.json", ""),
        ("huge.json", json.dumps(sheet(key, 2)) + " " * (5 * 2**20)),
        ("not a sheet.json", "NaN"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "notes.txt").write_text("not looked at")
    sheets, refused = read_sheets(tmp_path, key)
    assert [each.participant for each in sheets] == [1, 3]
    assert {each.ratings["sync"] for each in sheets[0].answers if each.ratings} == {4}
    reasons = {each.file: each.reason for each in refused}
    assert set(reasons) == {
        *("again.json", "bytes.json", "cut.json", "deep.json", "empty.json", "folder.json"),
        *("huge.json", "not a sheet.json"),
    }
    assert reasons["again.json"] == "participant 1 has answered in a.json"
    assert "is not JSON" in reasons["cut.json"]
    assert "bytes are no sheet" in reasons["huge.json"]
    assert all(reasons.values())
    with pytest.raises(FileNotFoundError, match="holds no answers"):
        read_sheets(tmp_path / "folder.json", key)


# --- the folder that people get, and what comes back


def write_clip(path, shade, sound=True, size=(64, 48), frames=8):
    samples = 0.1 * np.random.default_rng(shade).standard_normal(640 * frames).astype(np.float32)
    with VideoWriter(path, size, samples if sound else None) as writer:
        for k in range(frames):
            writer.write(np.full((size[1], size[0], 3), (shade, 20 * k, 90), np.uint8))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Truth and two methods, eight clips of one speaker; the truth alone has sound."""
    root = tmp_path_factory.mktemp("corpus")
    rows = ["clip_id,speaker,label"]
    for number, emotion in enumerate(EMOTIONS):
        clip = f"anna_{emotion}"
        rows.append(f"{clip},anna,{emotion}")
        write_clip(root / "truth" / f"{clip}.mp4", 10 + 25 * number)
        for method, shade in (("secretmethod", 11), ("hiddenmethod", 12)):
            write_clip(root / method / f"{clip}.mp4", shade + 25 * number, sound=False)
            with av.open(str(root / method / f"{clip}.mp4")) as old:
                packets = [p for p in old.demux(video=0) if p.dts is not None]
                tagged = root / method / f"{clip}.tmp.mp4"
                with av.open(str(tagged), "w", format="mp4") as new:
                    new.metadata["comment"] = f"wizardry of {method}"
                    stream = new.add_stream_from_template(old.streams.video[0])
                    for packet in packets:
                        packet.stream = stream
                        new.mux(packet)
            tagged.replace(root / method / f"{clip}.mp4")
    (root / "clips.csv").write_text("\n".join(rows))
    return root


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def export(corpus, out, *words):
    methods = [
        word
        for method in ("secretmethod", "hiddenmethod")
        for word in ("--results", f"{method}={corpus / method}")
    ]
    where = ["--truth", corpus / "truth", "--manifest", corpus / "clips.csv", "--out", out]
    return run("export", *methods, *where, "--participants", 2, "--clips", 1, *words)


@pytest.fixture(scope="module")
def study(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "first"
    assert export(corpus, out, "--each", 3) == 0
    return out


def test_nothing_public_tells_a_method_or_a_clip(study):
    key = read_key(study)
    files = [path for path in (study / "public").rglob("*") if path.is_file()]
    assert len(files) == 1 + 2 * 24 + 8
    assert not (study / "public" / "private").exists()
    for path in files:
        data = path.read_bytes().lower()
        for word in (b"secretmethod", b"hiddenmethod", b"anna", b"wizardry"):
            assert word not in data, path
        assert not re.search("method|anna|real", path.name)
        if path.suffix == ".mp4":
            assert re.fullmatch(r"[0-9a-f]{16}\.mp4", path.name)
    page = (study / "public" / "index.html").read_text()
    embedded = json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert set(embedded["items"]) == set(key.items)
    assert all(set(item) == {"video"} for item in embedded["items"].values())
    assert not re.search(r"https?://", page)
    assert key.methods == (REAL, "secretmethod", "hiddenmethod")


def test_videos_are_of_one_make_and_silent_in_the_second_task(study, corpus):
    key = read_key(study)
    kinds = {}
    for token, item in key.items.items():
        path = study / "public" / "videos" / f"{token}.mp4"
        info = probe(path)
        assert info.has_audio == (item.task == "rate")
        with av.open(str(path)) as video:
            codecs = tuple(stream.codec_context.name for stream in video.streams)
            made = (codecs, tuple(sorted(video.metadata.items())), info.fps, info.width)
        kinds.setdefault(item.task, set()).add(made)
    assert {task: len(makes) for task, makes in kinds.items()} == {"rate": 1, "choose": 1}
    token, item = next((t, i) for t, i in key.items.items() if i.method == "secretmethod")
    shown = read_frames(study / "public" / "videos" / f"{token}.mp4")
    result = read_frames(corpus / "secretmethod" / f"{item.clip}.mp4")
    truth = read_frames(corpus / "truth" / f"{item.clip}.mp4")
    assert shown.shape == result.shape
    difference = np.abs(shown.astype(int) - result).mean()
    assert difference < 1.5
    assert np.abs(result.astype(int) - truth).mean() > 0


def test_the_same_seed_writes_the_same_study(corpus, study, tmp_path):
    export(corpus, tmp_path / "again", "--each", 3)
    for path in sorted(study.rglob("*")):
        if path.is_file():
            other = tmp_path / "again" / path.relative_to(study)
            assert other.read_bytes() == path.read_bytes(), path


def test_export_names_what_is_wrong(corpus, tmp_path, study, capsys):
    with pytest.raises(FileExistsError, match="people may be answering its forms"):
        export(corpus, study)
    with pytest.raises(ValueError, match="8 speakers and emotions have too few clips"):
        export(corpus, tmp_path / "s", "--clips", 2)
    assert "not balanced: anna, fear: 1 of 2 clips" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    for word, message in (("x", "wanted NAME=DIR"), ("real=x", "the name 'real' is taken")):
        with pytest.raises(ValueError, match=message):
            export(corpus, tmp_path / "s", "--results", word)
    shutil.copytree(corpus / "secretmethod", tmp_path / "large")
    write_clip(tmp_path / "large" / "anna_fear.mp4", 1, size=(80, 48))
    with pytest.raises(ValueError, match="large, anna_fear: the video is 80 x 48, the truth 64"):
        export(corpus, tmp_path / "s", "--results", f"large={tmp_path / 'large'}")
    assert not (tmp_path / "s").exists()  # whole or not at all


def test_a_study_without_sound_is_refused(corpus, tmp_path):
    shutil.copytree(corpus / "secretmethod", tmp_path / "truth")
    words = ["--truth", tmp_path / "truth", "--manifest", corpus / "clips.csv"]
    with pytest.raises(ValueError, match="neither the video nor its truth has sound"):
        export(corpus, tmp_path / "s", *words)


def test_xus_study_shows_source_and_wanted_emotion(corpus, tmp_path):
    export(corpus, tmp_path / "s", "--protocol", "xu-table2", "--each", 2)
    key = read_key(tmp_path / "s")
    assert {item.task for item in key.items.values()} == {"rate"}
    page = (tmp_path / "s" / "public" / "index.html").read_text()
    study = json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert [each["key"] for each in study["questions"]] == [
        *("lip_sync", "expression", "quality", "identity")
    ]
    for token, item in study["items"].items():
        assert item["wanted"] == key.items[token].emotion
        assert (tmp_path / "s" / "public" / item["source"]).is_file()
    found = figures([checked(sheet(key, 1, 2), key)], key)
    assert set(found["methods"]["real"]) == {"ratings"}


def test_import_counts_and_lists(study, tmp_path, capsys):
    key = read_key(study)
    (tmp_path / "answers").mkdir()
    for person in (1, 2):
        text = json.dumps(sheet(key, person))
        (tmp_path / "answers" / f"{person}.json").write_text(text)
    (tmp_path / "answers" / "bad.json").write_text("{")
    words = ["import", "--study", study, "--answers", tmp_path / "answers"]
    assert run(*words, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "not counted: bad.json" in printed.err
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["participants"] == 2
    assert [each["file"] for each in record["refused"]] == ["bad.json"]
    text = (tmp_path / "out" / "results.md").read_text()
    assert re.search(r"\| secretmethod \| 4\.00 \[4\.00, 4\.00\] \|.* \| 100\.0 % \[", text)
    assert "| secretmethod: true \\ chosen |" in text
    assert "not counted: bad.json" in text
    assert "the accuracy of the real videos may be too high" in text  # examples were asked about
    assert (tmp_path / "out" / "results.png").stat().st_size > 10_000
    (tmp_path / "answers" / "1.json").unlink()
    (tmp_path / "answers" / "2.json").unlink()
    with pytest.raises(ValueError, match="none of the 1 files"):
        run(*words, "--out", tmp_path / "none")


def test_a_damaged_key_is_refused(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    path = tmp_path / "s" / "private" / "key.json"
    whole = json.loads(path.read_text())
    for broken, message in (
        ([], "is not the key of a study"),
        (whole | {"schema": 9}, "is not the key of a study"),
        ({k: v for k, v in whole.items() if k != "items"}, "is damaged"),
        (whole | {"more": 1}, "is damaged"),
        (whole | {"protocol": "x"}, "unknown protocol 'x'"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=message):
            read_key(tmp_path / "s")
    with pytest.raises(FileNotFoundError, match="user-study export"):
        read_key(tmp_path)


# --- the form in a browser

ROBOT = """<script>
const wishes = @WISHES@;
const lives = JSON.parse(sessionStorage.getItem("lives") || "[]");
let given = 0;

function reborn() {
  sessionStorage.setItem("lives", JSON.stringify([...lives, given]));
  location.reload();
}

const robot = setInterval(() => {
  const { screen, item } = document.body.dataset;
  const button = document.querySelector("button.next");
  const pause = screen === "end" ? lives.length < 2 : given === 2 && !lives.length;
  if (pause) {
    clearInterval(robot);
    return reborn();
  }
  if (screen === "end") {
    clearInterval(robot);
    const text = document.getElementById("answers").value;
    return fetch("/", { method: "POST", body: JSON.stringify({ lives, given, text }) });
  }
  if (!item) return button.click();
  const video = document.querySelector("video");
  if (!video.dataset.watched) {
    video.addEventListener("ended", () => { video.dataset.ended = "yes"; });
    for (const group of document.querySelectorAll("fieldset")) {
      group.querySelector(`input[value="${wishes[item]}"]`).click();
    }
    video.dataset.watched = button.disabled ? "yes" : "no, and may go on";
    video.play();
  }
  if (!video.dataset.ended || video.dataset.watched !== "yes") return;
  given += 1;
  button.click();
}, 20);
</script></body>"""


class Site(ThreadingHTTPServer):
    """The study's public folder on a plain web server that waits for one message."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Pages, directory=str(folder)))
        self.message, self.came = b"", threading.Event()


class Pages(SimpleHTTPRequestHandler):
    def do_POST(self):
        self.server.message = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *words):
        pass


def completed(public, participant, wishes, profile):
    """Return what a robot in a browser sends when it has watched and answered as wished."""
    page = (public / "index.html").read_text()
    robot = ROBOT.replace("@WISHES@", json.dumps(wishes))
    (public / "robot.html").write_text(page.replace("</body>", robot))
    with Site(public) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{site.server_port}/robot.html?p={participant}"
        browser = subprocess.Popen(
            [CHROMIUM, *PLAYING, f"--user-data-dir={profile}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        came = site.came.wait(60)
        browser.terminate()
        browser.wait(30)
        site.shutdown()
        thread.join()
    assert came, "the browser did not come to the end of the study"
    return json.loads(site.message)


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
def test_a_browser_completes_a_study_with_pauses_and_its_answers_count(study, tmp_path):
    shutil.copytree(study, tmp_path / "s")
    key = read_key(tmp_path / "s")
    ratings = {"real": "5", "secretmethod": "3", "hiddenmethod": "2"}
    wishes = {
        token: ratings[item.method] if item.task == "rate" else item.emotion
        for token, item in key.items.items()
    }
    sent = completed(tmp_path / "s" / "public", 1, wishes, tmp_path / "profile")
    assert sent["lives"] == [2, 4]  # answers between pauses, the second at the very end
    assert sent["given"] == 0
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "1.json").write_text(sent["text"])
    sheets, refused = read_sheets(tmp_path / "answers", key)
    assert refused == []
    order = key.participants[0]
    assert [each.item for each in sheets[0].answers] == [*order["rate"], *order["choose"]]
    found = figures(sheets, key)["methods"]
    for method, rating in ratings.items():
        assert found[method]["ratings"]["sync"]["value"] == int(rating)
        assert found[method]["emotion"]["accuracy"]["value"] == 1


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium")
def test_a_wrong_number_gets_no_form(study, tmp_path):
    url = f"{(study / 'public' / 'index.html').as_uri()}?p=7"
    command = [CHROMIUM, *PLAYING, f"--user-data-dir={tmp_path}", "--dump-dom", url]
    source = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert 'data-screen="nobody"' in source
    assert "1 to 2." in source


def test_replacing_a_case_changes_nothing_else():
    """The key names clips by id, so where the truth lies does not matter."""
    truths = [replace(case, truth=f"/elsewhere/{case.id}") for case in cases()]
    chosen, _ = choose_clips(truths, {}, 3, 0)
    examples = choose_examples(truths, chosen, 0)
    assert make_key(EVP, METHODS, chosen, examples, 6, None, 0) == study_key()
