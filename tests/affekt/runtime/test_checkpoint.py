"""No altered byte of a checkpoint or of weights is read in silence; what is not finite is named."""

import io
import logging
import zipfile
import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from affekt.runtime.files import DamagedFileError
from affekt.runtime.run import restore
from affekt.runtime.training import checkpoint
from affekt.runtime.weights.tensor_files import SEAL_LENGTH, load_tensors, not_finite, save_tensors

FLIPS, CUTS = 40, 12


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


@pytest.fixture
def folder(tmp_path):
    """Return the checkpoints of steps 1 and 2, which have other weights."""
    for step in (1, 2):
        model = network(step)
        optimizer = torch.optim.Adam(model.parameters())
        model[0](torch.ones(1, 3, 4, 4)).sum().backward()
        optimizer.step()
        checkpoint.save(tmp_path, step, {"model": model, "optimizer": optimizer})
    return tmp_path


def equal(one, two):
    """Whether nested states are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        same = isinstance(two, dict) and list(one) == list(two)
        return same and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


def damaged(whole, seed):
    """Yield a file with one bit flipped, then cut files."""
    rng = np.random.default_rng(seed)
    for place, bit in rng.integers((len(whole), 8), size=(FLIPS, 2)):
        altered = bytearray(whole)
        altered[place] ^= 1 << int(bit)
        yield bytes(altered)
    for length in [0, 1, len(whole) - 1, *rng.integers(len(whole), size=CUTS - 3)]:
        yield whole[:length]


@pytest.mark.parametrize("sealed", [True, False])  # of this version, of earlier ones
def test_every_altered_checkpoint_is_passed_over_and_said_or_equal(folder, caplog, sealed):
    if not sealed:
        torch.save(checkpoint.read(folder / "000000002.pt"), folder / "000000002.pt")
    one, two = (checkpoint.read(folder / f"00000000{step}.pt") for step in (1, 2))
    path = folder / "000000002.pt"
    refused = 0
    for content in damaged(path.read_bytes(), seed=13):
        path.write_bytes(content)
        caplog.clear()
        found = checkpoint.newest(folder)
        if found["step"] == 1:
            assert equal(found, one)
            assert f"{path} is damaged" in caplog.text
            refused += 1
        else:
            assert equal(found, two)
    assert refused >= CUTS


def test_an_altered_value_is_refused_though_torch_reads_it(folder):
    path = folder / "000000002.pt"
    content = bytearray(path.read_bytes())
    weight = checkpoint.read(path)["parts"]["model"]["0.weight"]
    place = content.index(weight.numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert not equal(torch.load(path)["parts"]["model"]["0.weight"], weight)
    with pytest.raises(DamagedFileError, match=r"2\.pt is damaged \(its checksum is another"):
        checkpoint.read(path)
    content[-SEAL_LENGTH:] = bytes(2)  # as an earlier version wrote it
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"2\.pt is damaged \(the checksum of its record"):
        checkpoint.read(path)


@pytest.mark.parametrize("sealed", [True, False])
def test_a_record_that_one_bit_makes_a_folder_is_refused(folder, sealed):
    """Of its values torch returns memory as it was, without an error."""
    path = folder / "000000002.pt"
    if not sealed:
        torch.save(checkpoint.read(path), path)
    content = bytearray(path.read_bytes())
    name = content.rindex(b"/data/0PK")
    attributes = content.rindex(b"PK\x01\x02", 0, name) + 38  # in the archive's directory
    content[attributes] ^= 0x10
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    with pytest.raises(DamagedFileError, match=r"2\.pt is damaged"):
        checkpoint.read(path)


def test_the_checksum_is_a_proper_comment_of_the_archive(folder):
    path = folder / "000000002.pt"
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    content = path.read_bytes()
    plain = content[: -len(comment) - 2] + bytes(2)  # what torch wrote
    assert comment == b"affekt_crc32 %08x\n" % zlib.crc32(plain)
    assert equal(torch.load(path), torch.load(io.BytesIO(plain)))


@pytest.mark.parametrize("content", ["empty", "other", "list", "legacy"])
def test_what_is_no_checkpoint_is_passed_over_by_name(folder, caplog, content):
    path = folder / "000000003.pt"
    path.touch()
    if content != "empty":
        value = [1] if content == "list" else {"step": 3, "parts": {}}
        torch.save(value, path, _use_new_zipfile_serialization=content != "legacy")
    caplog.set_level(logging.WARNING)
    assert checkpoint.newest(folder)["step"] == 2
    assert f"{path} is " in caplog.text
    assert caplog.text.rstrip().endswith("using the checkpoint before it")


def test_weights_that_are_not_finite_are_refused_by_part_and_key(tmp_path):
    model = network()
    checkpoint.save(tmp_path / "checkpoints", 3, {"renderer": model})
    state = checkpoint.newest(tmp_path / "checkpoints")
    state["parts"]["renderer"]["1.running_var"][2] = float("inf")
    torch.save(state, tmp_path / "checkpoints" / "000000004.pt")
    with pytest.raises(DamagedFileError, match=r"renderer\.1\.running_var holds NaN or infinity"):
        restore(tmp_path, renderer=network())


def test_weights_that_are_not_finite_are_not_saved(folder):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model[2].weight.data[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"step 5: model\.2\.weight holds NaN"):
        checkpoint.save(folder, 5, {"model": model, "optimizer": optimizer})
    assert checkpoint.newest(folder)["step"] == 2


def test_a_dotted_name_leads_to_what_is_not_finite():
    state = {"state": {0: {"step": 1, "moments": [torch.ones(2), torch.tensor([1, torch.nan])]}}}
    assert not_finite(state) == "state.0.moments.1"
    assert not_finite({"a": torch.tensor([2**62]), "b": None}) is None
    assert not_finite({"a": torch.full((9,), 3e38), "b": torch.zeros(0)}) is None  # the sum is inf
    assert not_finite({"a": torch.tensor([torch.inf, -torch.inf])}) == "a"


def test_every_altered_safetensors_file_is_refused_or_equal(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_tensors(path, network().state_dict(), {"about": "a network"})
    whole, (tensors, metadata) = path.read_bytes(), load_tensors(path)
    assert metadata == {"about": "a network"}
    assert equal(tensors, dict(sorted(network().state_dict().items())))
    refused = 0
    for content in damaged(whole, seed=14):
        path.write_bytes(content)
        try:
            found, _ = load_tensors(path)
        except DamagedFileError:
            refused += 1
        else:
            assert equal(dict(sorted(found.items())), dict(sorted(tensors.items())))
    assert refused >= CUTS


def test_safetensors_without_a_checksum_are_read_and_nan_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert load_tensors(path)[0]["a"].tolist() == [1, 1]
    save_file({"a": torch.ones(2), "b": torch.tensor(torch.nan)}, path)
    with pytest.raises(DamagedFileError, match=r"weights\.safetensors: b holds NaN or infinity"):
        load_tensors(path)
    with pytest.raises(FloatingPointError, match="happy holds NaN or infinity"):
        save_tensors(tmp_path / "codes.safetensors", {"happy": torch.tensor([torch.nan])})
    assert [each.name for each in tmp_path.iterdir()] == ["weights.safetensors"]


def test_equal_tensors_make_equal_safetensors_files(tmp_path):
    """The library writes metadata in an order that differs from process to process."""
    metadata = {name: name.upper() for name in "hcafgebd"}
    path = tmp_path / "weights.safetensors"
    save_tensors(path, network().state_dict(), metadata)
    data = path.read_bytes()
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].decode()
    places = [header.index(f'"{name}":"{name.upper()}"') for name in sorted(metadata)]
    assert places == sorted(places)
    assert load_tensors(path)[1] == metadata
