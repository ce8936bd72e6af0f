"""A Ray cluster of two nodes does what processes do."""

import os
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from affekt.media.audio.reader import write_wav
from affekt.runtime.parallel import ray_map

ray = pytest.importorskip("ray", reason="ray is not installed: pip install -r requirements-dev.txt")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def address():
    head = {"num_cpus": 1, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        # 15 otherwise: on a busy machine, imports then take minutes
        patch.setenv("RAY_worker_niceness", "0")
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1)
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def square(number):
    if number == 3:
        os._exit(1)
    if number == 4:
        time.sleep(600)
    if number == 9:
        raise OSError(28, "no space")
    time.sleep(0.2)  # so that one node does not take all
    return number**2, ray.get_runtime_context().get_node_id()


def lost(number, loss):
    return -number, "died" if isinstance(loss, BrokenProcessPool) else str(loss)


def test_both_nodes_work_and_an_item_that_dies_or_hangs_costs_itself_alone(address):
    found = dict(ray_map(square, range(3), address))
    assert sorted(found) == [0, 1, 4]
    assert len(set(found.values())) == 2
    found = dict(ray_map(square, [1, 2, 3, 4], address, lost=lost, seconds=60))
    assert sorted(found) == [-4, -3, 1, 4]
    assert (found[-3], found[-4]) == ("died", "it took longer than 60 s")
    with pytest.raises(OSError, match="no space") as caught:
        list(ray_map(square, [9], address))
    assert caught.value.errno == 28


def test_a_corpus_prepared_by_a_cluster_is_that_of_one_process(address, tmp_path, capsys):
    from data_prep.prepare import main  # here: the processes of the test above would import it

    rng = np.random.default_rng(0)
    for name in ("ann_happy_1", "ann_sad_1", "ann_sad_2"):
        write_wav(tmp_path / f"raw/{name}.wav", rng.uniform(-0.5, 0.5, 6400))
    (tmp_path / "raw/ann_sad_3.wav").write_bytes(b"noise")
    text = (
        f"corpus: {{layout: folder, root: {tmp_path}/raw, sound_only: true, speaker: ann}}\n"
        "quarantine_limit: 1\nprogress: false\nworkers: 0\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    for out, words in (("one", []), ("many", ["--ray", address])):
        assert main([str(tmp_path / "c.yaml"), f"out={tmp_path / out}", *words]) == 0
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        if path.name != ".lock":
            twin = tmp_path / "many" / path.relative_to(tmp_path / "one")
            assert twin.read_bytes() == path.read_bytes(), path.name
