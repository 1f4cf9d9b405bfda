import json

import pytest
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.benchmarks import pipeline, timing
from tfssl.cli.main import main

TOY = "toy:images(count=6, size=32)"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(timing, "WARM_UP", 0.01)
    return {"size": 32, "passes": 1, "seconds": 0.02, "verbose": 0}


def test_every_stage_is_measured_kept_and_decoded_each_time(quick):
    found = pipeline.bench_pipeline(TOY, ["rotation(rotations=2)", "inpainting"], **quick)
    assert (found.pictures, found.batch_size) == (6, 6)
    assert found.cache_bytes == 6 * 32 * 32 * 4
    assert (found.streams.cached, found.decoded_each_time.cached) == (True, False)
    for streams in (found.streams, found.decoded_each_time):
        assert list(streams.tasks) == ["rotation", "inpainting"]
        assert min(found.read, found.decode, streams.crop, streams.all, *streams.tasks.values()) > 0
        assert streams.puzzles_per_second["rotation"] == pytest.approx(2 * streams.tasks["rotation"])
        assert streams.puzzles_per_second["inpainting"] == pytest.approx(streams.tasks["inpainting"])
        # Of one pass, medians are what was measured.
        for name, rate in {"crop": streams.crop, **streams.tasks, "all": streams.all}.items():
            assert streams.to_decode[name] == pytest.approx(rate / found.decode, rel=0.01, abs=1e-3)
        assert streams.all_to_slowest == pytest.approx(streams.all / min(streams.tasks.values()), rel=0.01, abs=1e-3)
    text = str(found)
    assert "decoded once, kept in" in text
    assert "decoded anew for each crop" in text


def test_the_slow_stage_is_the_one_that_takes_the_time():
    tasks = pipeline.parse_tasks("rotation, inpainting")
    spec = tf.data.Dataset.range(2).batch(2).map(lambda x: ({task.name: x for task in tasks},) * 3)
    memory = 5
    rates = {"read": [1000.0], "decode": [100.0], "5 ": [200.0], "5 rotation": [190.0], "5 inpainting": [50.0]}
    rates["5 rotation inpainting"] = [40.0]
    stages = {key: spec.take(1) for key in rates}
    # Datasets of batches of unknown length have no static count of puzzles.
    stages = {key: dataset.map(_static) for key, dataset in stages.items()}
    found = pipeline._streams(rates, tasks, 2, memory, stages)
    assert found.slowest == "inpainting"
    assert found.to_decode == {"crop": 2.0, "rotation": 1.9, "inpainting": 0.5, "all": 0.4}
    assert found.all_to_slowest == 0.8
    assert found.puzzles_per_second == {"rotation": 190.0, "inpainting": 50.0}
    rates = {key.replace("5", "0"): value for key, value in rates.items()} | {"0 inpainting": [195.0]}
    stages = {key.replace("5", "0"): value for key, value in stages.items()}
    assert pipeline._streams(rates, tasks, 2, 0, stages).slowest == "decode and crop"
    assert pipeline._streams(rates | {"read": [210.0]}, tasks, 2, 0, stages).slowest == "read"


def _static(*element):
    return tf.nest.map_structure(lambda tensor: tf.ensure_shape(tensor, [2]), element)


def test_broken_pictures_do_not_stop_it(tmp_path, quick):
    for number in range(4):
        data = tf.io.encode_jpeg(
            tf.random.stateless_uniform([40, 40, 3], [0, number], 0, 256, tf.int32).numpy().astype("uint8")
        )
        (tmp_path / f"{number}.jpg").write_bytes(data.numpy())
    data = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(data[: len(data) // 2])
    assert pipeline.bench_pipeline(tmp_path, "rotation", **quick).pictures == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size=0 is given"),
        ({"passes": 0}, "passes=0 is given"),
        ({"batch_size": 0}, "batch_size=0 is given"),
        ({"seconds": 0.0}, "seconds=0.0 is given"),
        ({"cache_memory": -1}, "cache_memory=-1 is given"),
        ({"tasks": "rotations"}, "unknown task 'rotations'"),
        ({"tasks": "rotation(batch=7)"}, "batch=7 is given"),
        ({"data": "no/such/folder"}, "does not exist"),
    ],
)
def test_wrong_input(quick, wrong, message):
    with pytest.raises(UserError, match=message):
        pipeline.bench_pipeline(**({"data": TOY, "tasks": "rotation"} | quick | wrong))


def test_command_line(monkeypatch, capsys):
    monkeypatch.setattr(timing, "WARM_UP", 0.01)
    command = ["bench", "pipeline", TOY, "--tasks", "rotation", "--size", "32", "--passes", "1", "--seconds", "0.02"]
    command += ["--batch-size", "4", "--no-cache"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--json"])
    assert end.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert {"read", "decode", "crop", "tasks", "all", "cached", "slowest", "puzzles_per_second"} <= set(found)
    assert (found["cached"], found["decoded_each_time"], list(found["tasks"])) == (False, None, ["rotation"])
    assert (found["batch_size"], found["pictures"]) == (4, 6)
    assert found["slowest"] in ("read", "decode and crop", "rotation")
    with pytest.raises(SystemExit) as end:
        main(["bench", "pipeline", "no/such/folder"])
    assert end.value.code == 2


def test_clips_are_measured_beside_bare_decoding_of_as_many_frames(quick):
    found = pipeline.bench_pipeline(
        "toy:clips(count=6, size=32, seconds=1.2)", "shuffle_and_learn, audio_visual(seconds=0.5), rotation", **quick
    )
    assert (found.clips, found.batch_size) == (6, 6)
    assert found.frames == {"shuffle_and_learn": 3, "audio_visual": 1, "rotation": 0}
    assert list(found.decode) == [1, 3]
    assert min(found.read, found.crop, found.all, *found.decode.values(), *found.tasks.values()) > 0
    for name, against in {"shuffle_and_learn": found.decode[3], "audio_visual": found.decode[1]}.items():
        assert found.to_decode[name] == pytest.approx(found.tasks[name] / against, rel=0.01, abs=1e-3)
    assert found.all_to_slowest == pytest.approx(found.all / min(found.tasks.values()), rel=0.01, abs=1e-3)
    assert "bare decode of 3" in str(found)
    json.dumps(found.as_json())
    with pytest.raises(UserError, match="frame_order reads clip"):
        pipeline.bench_pipeline("toy:images(count=6, size=32)", "frame_order", **quick)
