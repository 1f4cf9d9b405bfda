"""Recordings as they come: odd films and sounds, made here, one by one."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfssl.pipelines.clips import recordings
from tfssl.pipelines.clips.recordings import BrokenRecordingError, Piece

av = pytest.importorskip("av")
RATE = 16000


def write(
    path,
    times=(),
    size=(48, 32),
    sounds=(),
    sound_rate=RATE,
    layout="mono",
    level=None,
    kind=None,
    codec="mpeg4",
    options=None,
    aspect=None,
    sound_codec="aac",
):
    """A film whose frame at t has grey level(t), with sound tracks; each a float array -1..1 [channels, n]."""
    with av.open(str(path), "w", format=kind) as container:
        film = None
        if len(times):
            film = container.add_stream("libvpx" if path.suffix == ".webm" else codec, rate=25, options=options)
            film.width, film.height, film.pix_fmt = *size, "yuv420p"
            if aspect is not None:
                film.sample_aspect_ratio = aspect
            film.time_base = film.codec_context.time_base = Fraction(1, 1000)
            film.bit_rate = 4_000_000
        tracks = []
        for _ in sounds:
            codec_of = {".wav": "pcm_s16le", ".flac": "flac", ".mp3": "libmp3lame", ".ogg": "flac"}
            track = container.add_stream(codec_of.get(path.suffix, sound_codec), rate=sound_rate)
            track.layout = layout
            tracks.append(track)
        for time in times:
            grey = np.full((size[1], size[0], 3), (level or (lambda t: 40 + 60 * t))(time), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(film.encode(frame))
        if film is not None:
            container.mux(film.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            sound = np.atleast_2d(np.asarray(sound, np.float32))
            interleaved = (sound.T.reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = sound_rate, 0, Fraction(1, sound_rate)
            resampler = av.AudioResampler(track.format.name, layout, sound_rate, track.codec_context.frame_size or None)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return path


def tone(seconds, hertz=440.0, rate=RATE):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def loudest(sound, rate=RATE):
    """Hertz of the strongest tone."""
    return np.argmax(np.abs(np.fft.rfft(sound.astype(float)))) * rate / len(sound)


def damage(path, *packets):
    """Zeroes some packets of a file: (kind of stream, number). Returns how many there are of each kind."""
    inside = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                inside[packet.stream.type].append(bytes(packet))
    data = path.read_bytes()
    for kind, number in packets:
        packet = inside[kind][number]
        assert data.count(packet) == 1
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)
    return {kind: len(each) for kind, each in inside.items()}


def levels(piece):
    import io

    return [np.asarray(Image.open(io.BytesIO(frame))).mean() for frame in piece.frames]


def test_frames_come_at_the_rate_with_their_times(tmp_path):
    path = write(tmp_path / "a.mp4", np.arange(25) / 25, sounds=[tone(1.0)])
    found = recordings.decode(path, 16, 12.5, RATE)
    np.testing.assert_allclose(found.times, np.arange(13) * 0.08, atol=2e-3)
    np.testing.assert_allclose(levels(found), 40 + 60 * found.times, atol=4)
    assert abs(len(found.sound) / RATE - 1.0) < 0.07  # AAC pads
    assert loudest(found.sound) == pytest.approx(440, abs=3)


def test_short_side_is_scaled_down_and_never_up(tmp_path):
    import io

    path = write(tmp_path / "a.mp4", [0.0, 0.1], size=(96, 64))
    for side, expected in ((32, (48, 32)), (200, (96, 64))):
        frame = recordings.decode(path, side, 10, RATE).frames[0]
        assert Image.open(io.BytesIO(frame)).size == expected


def test_variable_frame_rate_goes_by_time_stamps(tmp_path):
    times = [0.0, 0.02, 0.04, 0.06, 0.5, 0.52, 1.5, 1.52, 1.62]
    found = recordings.decode(write(tmp_path / "a.mkv", times), 16, 10, RATE)
    np.testing.assert_allclose(found.times, [0.0, 0.5, 1.5, 1.62], atol=0.025)
    np.testing.assert_allclose(levels(found), 40 + 60 * found.times, atol=4)


def test_a_slow_film_is_not_filled_up(tmp_path):
    found = recordings.decode(write(tmp_path / "a.mkv", np.arange(5) / 5), 16, 25, RATE)
    assert len(found.frames) == 5


def test_no_sound_track(tmp_path):
    found = recordings.decode(write(tmp_path / "a.mp4", [0.0, 0.1]), 16, 10, RATE)
    assert (len(found.sound), found.sound_start) == (0, 0.0)


def test_of_several_sound_tracks_one_is_taken(tmp_path):
    path = write(tmp_path / "a.mkv", [0.0, 0.5], sounds=[tone(1.0, 500), tone(1.0, 2000)])
    found = recordings.decode(path, 16, 10, RATE)
    assert round(loudest(found.sound), -1) in (500, 2000)
    assert len(found.sound) / RATE < 1.2  # and not one after the other


def test_six_channels_become_one(tmp_path):
    sound = np.zeros((6, 48000), np.float32)
    sound[2] = tone(1.0, 700, 48000)  # the middle one, where voices are
    path = write(tmp_path / "a.flac", sounds=[sound], sound_rate=48000, layout="5.1")
    found = recordings.decode(path, 16, 10, RATE)
    assert (found.frames, abs(len(found.sound) - RATE) < 100) == ([], True)
    assert loudest(found.sound) == pytest.approx(700, abs=3)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_sounds_alone(tmp_path, ending):
    found = recordings.decode(write(tmp_path / f"a.{ending}", sounds=[tone(0.8)]), 16, 10, RATE)
    assert found.frames == []
    assert len(found.sound) / RATE == pytest.approx(0.8, abs=0.08)
    assert loudest(found.sound) == pytest.approx(440, abs=3)


def test_a_film_cut_in_the_middle_keeps_what_came_before(tmp_path):
    path = write(tmp_path / "a.mkv", np.arange(50) / 25, sounds=[tone(2.0)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    found = recordings.decode(path, 16, 25, RATE)
    assert 5 < len(found.frames) < 50


@pytest.mark.parametrize("packets", [(("video", 20), ("audio", 30)), (("audio", 5),), (("video", 49),)])
def test_what_is_damaged_is_passed_over_in_film_and_sound_each_for_itself(tmp_path, packets):
    path = write(tmp_path / "a.mp4", np.arange(50) / 25, sounds=[tone(2.0)])
    whole = recordings.decode(path, 16, 25, RATE)
    assert (len(whole.frames), whole.damage) == (50, "")
    counts = damage(path, *packets)
    lost = dict(packets)
    found = recordings.decode(path, 16, 25, RATE)
    wanted = np.delete(whole.times, lost["video"]) if "video" in lost else whole.times
    np.testing.assert_array_equal(found.times, wanted)
    names = {"video": "film", "audio": "sound"}
    said = " and ".join(f"1 of {counts[kind]} packets of {names[kind]}" for kind in lost)
    silence = ", has no sound for 0.06 s, where silence is put" if "audio" in lost else ""  # 1024 samples
    assert found.damage == f"lost {said} to damage{silence}"
    assert len(found.sound) == len(whole.sound)
    if "audio" in lost:
        begin = lost["audio"] * 1024
        assert not found.sound[begin - 900 : begin - 200].any()  # the encoder's delay is a packet
    rest = slice(35 * 1024, None)
    np.testing.assert_array_equal(found.sound[rest], whole.sound[rest])


@pytest.mark.parametrize(
    ("name", "codec", "kind", "options"),
    [
        ("raw.mp4", "libx264", "h264", {"bf": "2"}),
        ("raw.mov", "mpeg4", "m4v", {}),  # the encoder of HEVC in PyAV 18 writes where it must not
        ("pyramid.avi", "libx264", None, {"bf": "3", "x264-params": "b-pyramid=normal:b-adapt=0"}),
        ("film.avi", "mpeg4", None, {"bf": "2"}),
    ],
)
def test_frames_without_a_time_are_counted_at_the_rate(tmp_path, name, codec, kind, options):
    times = np.arange(20) / 25
    path = write(tmp_path / name, times, kind=kind, codec=codec, options=options, level=lambda t: 40 + 250 * t)
    found = recordings.decode(path, 16, 25, RATE)
    assert len(found.frames) == 20
    np.testing.assert_allclose(levels(found), 40 + 250 * times, atol=5)
    # FFmpeg takes the order of decoding in AVI for that of showing: by as many frames its times are off.
    np.testing.assert_allclose(found.times, times, atol=1e-3 if kind else 0.085)
    assert (np.diff(found.times) > 0.03).all()


@pytest.mark.parametrize(
    ("aspect", "shown"), [(Fraction(64, 45), (102, 48)), (Fraction(3, 4), (72, 64)), (1000, (72, 48))]
)
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, shown):
    import io

    path = write(tmp_path / "a.mp4", [0.0, 0.1], size=(72, 48), aspect=aspect)
    for side in (30, 1000):
        scale = min(1, side / min(shown))
        size = Image.open(io.BytesIO(recordings.decode(path, side, 10, RATE).frames[0])).size
        assert size == tuple(round(scale * length) for length in shown)


def test_a_film_whose_size_changes_on_the_way_keeps_that_of_its_first_frame(tmp_path):
    import io

    raw = {"kind": "h264", "codec": "libx264"}
    parts = [write(tmp_path / f"{size[0]}.mp4", [0.0, 0.04, 0.08], size=size, **raw) for size in ((64, 48), (32, 48))]
    (tmp_path / "both.mp4").write_bytes(b"".join(part.read_bytes() for part in parts))
    found = recordings.decode(tmp_path / "both.mp4", 24, 25, RATE)
    assert [Image.open(io.BytesIO(frame)).size for frame in found.frames] == [(32, 24)] * 6
    np.testing.assert_allclose(found.times, np.arange(6) / 25, atol=1e-3)


def test_a_recording_cut_off_in_copying_is_told(tmp_path):
    path = write(tmp_path / "a.mkv", np.arange(100) / 25, sounds=[tone(4.0)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = recordings.decode(path, 16, 25, RATE)
    assert found.damage == f"ends at {max(found.times[-1], len(found.sound) / RATE):.1f} s of 4.1 s"


def test_a_sound_whose_format_changes_on_the_way(tmp_path):
    """As broadcasts do, from stereo to six channels and to another rate."""
    one = write(tmp_path / "one.mp3", sounds=[tone(1.0, 440, 44100)], sound_rate=44100)
    other = write(tmp_path / "two.mp3", sounds=[np.stack([tone(1.0, 880)] * 2)], layout="stereo")
    (tmp_path / "both.mp3").write_bytes(one.read_bytes() + other.read_bytes())
    found = recordings.decode(tmp_path / "both.mp3", 16, 10, RATE).sound
    assert len(found) / RATE == pytest.approx(2.0, abs=0.2)
    assert loudest(found[: RATE // 2]) == pytest.approx(440, abs=3)
    assert loudest(found[-RATE // 2 :]) == pytest.approx(880, abs=3)


@pytest.mark.parametrize("name", ["a:b.mkv", "title.mkv"])
def test_colons_and_titles_in_any_encoding(tmp_path, name, monkeypatch):
    path = write(tmp_path / "a.mkv", [0.0, 0.1])
    if name == "title.mkv":
        with av.open(str(path)) as reads, av.open(str(tmp_path / name), "w", metadata_encoding="latin-1") as writes:
            writes.metadata["title"] = "café"
            made = writes.add_stream_from_template(reads.streams.video[0])
            for packet in reads.demux():
                if packet.size:
                    packet.stream = made
                    writes.mux(packet)
    else:
        path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(recordings.decode(Path(name), 16, 10, RATE).frames) == 2


@pytest.mark.parametrize("data", [b"", b"this is no film", bytes(5000)])
def test_what_is_no_recording_is_told(tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(BrokenRecordingError):
        recordings.decode(tmp_path / "a.mp4", 16, 10, RATE)


def test_pieces_are_cut_by_time_and_lose_nothing():
    times = (np.arange(50) / 10 + 0.3).astype("f4")
    small = np.zeros((50, 16, 16, 3), np.uint8) + np.arange(50, dtype=np.uint8)[:, None, None, None]
    whole = Piece([b"%d" % k for k in range(50)], small, times, np.arange(7 * 1000, dtype=np.int16), 0.0)
    cut = list(recordings.pieces(whole, 2.0, 1000))
    assert len(cut) == 4  # 7 s in pieces of 2: 3.5, rounded to the even 4
    assert [frame for piece in cut for frame in piece.frames] == whole.frames
    np.testing.assert_array_equal(np.concatenate([piece.thumbnails for piece in cut]), small)
    np.testing.assert_array_equal(np.concatenate([piece.sound for piece in cut]), whole.sound)
    for piece in cut:
        assert (piece.times >= piece.sound_start - 1e-3).all()
        assert (piece.times < piece.sound_start + len(piece.sound) / 1000).all()
        assert piece.sound[0] == round(piece.sound_start * 1000)


def test_pieces_are_kept_as_files(tmp_path):
    small = np.arange(2 * 768).reshape(2, 16, 16, 3).astype(np.uint8)
    piece = Piece([b"one", b"three"], small, np.array([0.0, 0.5], "f4"), np.array([1, -2], np.int16), 0.25)
    piece.write(tmp_path / "a")
    again = Piece.read(tmp_path / "a")
    assert (again.frames, again.sound.tolist(), again.sound_start) == ([b"one", b"three"], [1, -2], 0.25)
    np.testing.assert_array_equal(again.thumbnails, small)
    Piece([], small[:0], np.zeros(0, "f4"), np.array([5], np.int16), 0.0).write(tmp_path / "b")
    assert Piece.read(tmp_path / "b").frames == []


def test_a_film_that_a_phone_took_on_its_side_is_turned_upright(tmp_path):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width, film.height, film.pix_fmt, film.bit_rate = 48, 32, "yuv420p", 4_000_000
        stored = np.zeros((32, 48, 3), np.uint8)
        stored[:, :24] = 220  # as stored, light on the left
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
    data = bytearray(path.read_bytes())
    # What a phone writes for "show it turned by 90 degrees clockwise": the matrix in the header of the track.
    place = data.index(b"tkhd") + 4 + 40
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[place : place + 36] = np.array(turned, ">i4").tobytes()
    path.write_bytes(data)
    found = recordings.decode(path, 32, 10, RATE)
    import io

    picture = np.asarray(Image.open(io.BytesIO(found.frames[0]))).mean(-1)
    assert picture.shape == (48, 32)
    assert picture[:20].mean() > 180  # the left side is on top now
    assert picture[-20:].mean() < 40


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_flash_and_click_of_a_film_stay_together(tmp_path, ending):
    """From a file to the graph: picture and sound of one moment, to within one window of sound (10 ms)."""
    import tensorflow as tf

    import tfssl
    from tfssl.pipelines.clips import clip_records
    from tfssl.pipelines.sources.any_source import open_source

    (tmp_path / "films").mkdir()
    for name, moment in (("a", 0.8), ("b", 0.4)):
        sound = np.zeros(round(1.6 * RATE), np.float32)
        click = round(moment * RATE)
        sound[click : click + 160] = 0.9 * np.sin(2 * np.pi * 2000 * np.arange(160) / RATE)
        write(
            tmp_path / "films" / f"{name}.{ending}",
            np.arange(40) / 25,
            sounds=[sound],
            level=lambda time, moment=moment: 240 if abs(time - moment) < 0.01 else 10,
        )
    tfssl.ingest(tmp_path / "films", out=tmp_path / "clips", size=32, frame_rate=25, test=0.0, processes=1)
    source = open_source(tmp_path / "clips")
    assert source.count == 2
    for record in source.reader().records(tf.range(2, dtype=tf.int64)):
        clip = clip_records.parse(record[None])[0]
        light = [clip_records.decode_frames(clip.frames(tf.constant([k])), 16, None).numpy().mean() for k in range(40)]
        flash = float(clip.times[int(np.argmax(light))])
        heard = clip_records.waveform(clip.sound, clip.sound_start, flash - 0.1, round(0.2 * RATE), RATE).numpy()
        energy = np.convolve(heard**2, np.ones(160), "valid")
        assert abs(energy.argmax() / RATE - 0.1) < 0.01
