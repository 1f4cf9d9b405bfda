import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import tfssl
from tfssl.apply.inpaint import Painter
from tfssl.base.errors import UserError
from tfssl.cli.main import main
from tfssl.pipelines import progress
from tfssl.tasks.inpainting import FILL


@pytest.fixture(scope="module", params=["inpainting", "inpainting(hole='centre')"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = {"trunk": "plain(width=4)", "size": 32, "epochs": 1, "batch_size": 8, "report": False, "verbose": 0}
    return tfssl.pretrain("toy:images(count=48, size=32)", tasks=request.param, out=folder, **settings)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures: wide, tall, smaller than the run's size."""
    rng = np.random.default_rng(0)
    shapes = {"wide": (50, 90), "tall": (80, 40), "small": (20, 24)}
    (tmp_path / "in" / "deep").mkdir(parents=True)
    found = {}
    for name, shape in shapes.items():
        found[name] = rng.integers(0, 256, [*shape, 3], dtype=np.uint8)
        Image.fromarray(found[name]).save(tmp_path / "in" / ("deep" if name == "tall" else "") / f"{name}.png")
    return found


def opened(path):
    return np.asarray(Image.open(path))


def save_mask(path, hidden):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(np.where(hidden, 255, 0).astype(np.uint8)).save(path)


def box(shape, top, left, height, width):
    hidden = np.zeros(shape, bool)
    hidden[top : top + height, left : left + width] = True
    return hidden


def test_outside_untouched_and_inside_painted(run, pictures, tmp_path):
    filled = tfssl.inpaint(run, tmp_path / "in", tmp_path / "out", verbose=0)
    assert len(filled.files) == 3
    assert filled.broken == {}
    for name, source in pictures.items():
        height, width = source.shape[:2]
        hidden = box((height, width), height // 4, width // 4, height // 2, width // 2)
        found = opened(tmp_path / "out" / ("deep" if name == "tall" else "") / f"{name}.png")
        np.testing.assert_array_equal(found[~hidden], source[~hidden])
        assert (found[hidden] != source[hidden]).any(-1).mean() > 0.9
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["small.png", "tall.png", "wide.png"]


def test_what_lies_beneath_the_mask_is_never_looked_at(run, pictures):
    painter = Painter(run, run.tasks()[0])
    for source in pictures.values():
        hidden = np.zeros(source.shape[:2], bool)
        hidden[5:12, 3:20] = hidden[15:18, 2:4] = True
        changed = np.where(hidden[..., None], 255 - source, source)
        np.testing.assert_array_equal(painter(source, hidden), painter(changed, hidden))


def test_paints_what_the_network_says(run, tmp_path):
    """A picture of the run's own size with a hole that it knows: the network's answer itself, at its own place."""
    task, size = run.tasks()[0], 32
    source = np.random.default_rng(1).integers(0, 256, [size, size, 3], dtype=np.uint8)
    # Half of the side; with a centred hole what of it is hidden, less a pixel for windows of odd length.
    hidden = box((size, size), 8, 8, 16, 16) if task.hole == "random" else box((size, size), 10, 10, 13, 13)
    puzzle = source.copy()
    puzzle[hidden if task.hole == "random" else task.centre_weights(size) == 1] = FILL
    prediction = run.solver("inpainting")(puzzle[None], training=False)[0].numpy()
    expected = np.clip(np.round((prediction + 1) * 127.5), 0, 255)
    found = Painter(run, task)(source, hidden).astype(int)
    np.testing.assert_allclose(found[hidden], expected[hidden], atol=1)
    np.testing.assert_array_equal(found[~hidden], source[~hidden])


def test_flat_surroundings_are_seen_through_any_window(run):
    """One answer whatever the size of picture and hole, where everything around is of one colour."""
    painter = Painter(run, run.tasks()[0])
    found = []
    for side in (32, 64, 200):
        source = np.full([side, side, 3], 90, np.uint8)
        hidden = box((side, side), side // 4, side // 4, side // 2, side // 2)
        painted = painter(source, hidden)
        found.append(painted[hidden].mean(0))
    assert np.abs(np.diff(found, axis=0)).max() <= 6  # grey levels; holes begin and end between pixels


def test_masks_from_files(run, pictures, tmp_path):
    rng = np.random.default_rng(2)
    masks = {name: rng.random(source.shape[:2]) < 0.05 for name, source in pictures.items()}
    for name, hidden in masks.items():
        save_mask(tmp_path / "masks" / ("deep" if name == "tall" else "") / f"{name}.png", hidden)
    tfssl.inpaint(run, tmp_path / "in", tmp_path / "out", mask=tmp_path / "masks", verbose=0)
    for name, source in pictures.items():
        found = opened(tmp_path / "out" / ("deep" if name == "tall" else "") / f"{name}.png")
        np.testing.assert_array_equal(found[~masks[name]], source[~masks[name]])
        assert (found[masks[name]] != source[masks[name]]).any(-1).mean() > 0.9
    # One file for one picture.
    one = tmp_path / "in" / "wide.png"
    tfssl.inpaint(run, one, tmp_path / "one", mask=tmp_path / "masks" / "wide.png", verbose=0)
    np.testing.assert_array_equal(opened(tmp_path / "one" / "wide.png"), opened(tmp_path / "out" / "wide.png"))


def test_a_box_in_an_upright_picture(run, tmp_path):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, [4, 5, 3], np.uint8)).resize((60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth.save(tmp_path / "lying.jpg", quality=95, exif=exif)
    tfssl.inpaint(run, tmp_path / "lying.jpg", tmp_path / "out", mask="30, 10,20,15", verbose=0)
    source = np.asarray(Image.open(tmp_path / "lying.jpg").transpose(Image.Transpose.ROTATE_270))
    found = opened(tmp_path / "out" / "lying.png")
    hidden = box((60, 40), 30, 10, 20, 15)
    np.testing.assert_array_equal(found[~hidden], source[~hidden])
    assert (found[hidden] != source[hidden]).any()


def test_broken_pictures_are_named(run, pictures, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture at all, really")
    with pytest.raises(SystemExit) as end:
        main(["inpaint", str(run.folder), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"])
    assert end.value.code == 0
    printed = capfd.readouterr()
    result = json.loads(printed.out)
    assert result["count"] == 3
    assert list(result["broken"]) == [str(tmp_path / "in" / "bad.jpg")]
    assert "is no picture" in result["broken"][str(tmp_path / "in" / "bad.jpg")]
    assert printed.err.splitlines()[-1].startswith("4 pictures painted in ")
    with pytest.raises(UserError, match="none of 1 pictures can be painted"):
        tfssl.inpaint(run, tmp_path / "in" / "bad.jpg", tmp_path / "out", verbose=0)
    filled = tfssl.inpaint(run, tmp_path / "in", tmp_path / "out", verbose=0)
    assert "left out" in str(filled)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ("45,0,10,10", "is not inside of .*wide.png, which is 50 pixels high and 90 wide"),
        ("-1,0,10,10", "is not inside"),
        ("0,0,0,10", "is not inside"),
        ("0,0,50,90", "hides all"),
        ("0,0,5", "--mask 0,0,5 is given, expected a picture"),
        ("nowhere.png", "is given, expected a picture"),
        ("MASKS/small.png", "20 pixels high and 24 wide, but .* is 50 high and 90 wide"),
        ("MASKS/empty.png", "is empty"),
        ("MASKS/broken.png", "the mask .* is no picture"),
        ("MASKS", "has no mask for .*wide.png"),
    ],
)
def test_wrong_masks(run, pictures, tmp_path, mask, says):
    if run.settings.tasks != "inpainting":
        pytest.skip("the same for every run")
    save_mask(tmp_path / "masks" / "small.png", box((20, 24), 2, 2, 3, 3))
    save_mask(tmp_path / "masks" / "empty.png", np.zeros((50, 90), bool))
    (tmp_path / "masks" / "broken.png").write_bytes(b"nothing")
    given = mask.replace("MASKS", str(tmp_path / "masks"))
    with pytest.raises(UserError, match=says) as error:
        tfssl.inpaint(run, tmp_path / "in" / "wide.png", tmp_path / "out", mask=given, verbose=0)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("out/*"))


def test_wrong_runs_and_places(run, toy_run, pictures, tmp_path):
    with pytest.raises(UserError, match="has no inpainting, its tasks are: rotation"):
        tfssl.inpaint(toy_run, tmp_path / "in", tmp_path / "out", verbose=0)
    with pytest.raises(UserError, match="is no run"):
        tfssl.inpaint(tmp_path, tmp_path / "in", tmp_path / "out", verbose=0)
    with pytest.raises(UserError, match="would be overwritten"):
        tfssl.inpaint(run, tmp_path / "in", tmp_path / "in", verbose=0)
    shutil.copy(tmp_path / "in" / "wide.png", tmp_path / "file")
    with pytest.raises(UserError, match="cannot write"):
        tfssl.inpaint(run, tmp_path / "in", tmp_path / "file" / "sub", verbose=0)


def test_transparent_and_jpeg_masks(run, pictures, tmp_path):
    hidden = box((50, 90), 10, 20, 16, 16)
    buffer = io.BytesIO()
    Image.fromarray(np.where(hidden, 255, 0).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    (tmp_path / "mask.jpg").write_bytes(buffer.getvalue())
    clear = np.zeros([50, 90, 4], np.uint8)
    clear[..., 3] = np.where(hidden, 0, 255)
    Image.fromarray(clear).save(tmp_path / "mask.png")
    for name in ("mask.jpg", "mask.png"):
        tfssl.inpaint(run, tmp_path / "in" / "wide.png", tmp_path / name[:-3], mask=tmp_path / name, verbose=0)
        found = opened(tmp_path / name[:-3] / "wide.png")
        np.testing.assert_array_equal(found[~hidden], pictures["wide"][~hidden])
