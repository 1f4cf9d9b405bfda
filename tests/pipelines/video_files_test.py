"""Films whose frames are changed: they come as a player shows them, and everything else is kept."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.recordings_test import RATE, damage, loudest, write
from tfssl.pipelines.clips import recordings, video_files

av = pytest.importorskip("av")


def change(source, target, changed=lambda image: image):
    """Returns what was lost, and the frames that were changed with their times."""
    seen = []

    def change_frame(image, time):
        seen.append((time, image))
        return changed(image)

    return video_files.change(source, target, change_frame, lambda *done: None), seen


def read(path):
    """Times and pictures of a film, its sound as float [n], and the time at which it begins."""
    with av.open(str(path)) as film:
        frames = list(film.decode(film.streams.video[0]))
        assert film.streams.video[0].sample_aspect_ratio in (None, 1)
        pictures = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in frames]
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return pictures, None, None
        parts = list(film.decode(film.streams.audio[0]))
        return pictures, np.concatenate([part.to_ndarray() for part in parts], 1)[0], parts[0].time


@pytest.mark.parametrize(
    ("name", "kind", "options"), [("raw.mp4", "h264", {"bf": "2"}), ("pyramid.avi", None, {"bf": "3"})]
)
def test_frames_without_a_time_are_kept(tmp_path, name, kind, options):
    path = write(tmp_path / name, np.arange(12) / 25, kind=kind, codec="libx264", options=options)
    lost, seen = change(path, tmp_path / "new.mp4")
    times = [time for time, _ in read(tmp_path / "new.mp4")[0]]
    assert (lost, len(times)) == ("", 12)
    np.testing.assert_allclose(times, [time for time, _ in seen], atol=1e-3)
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-3 if kind else 0.041)


def test_what_is_damaged_is_passed_over(tmp_path):
    path = write(tmp_path / "a.mp4", np.arange(30) / 25)
    damage(path, ("video", 9))
    lost, seen = change(path, tmp_path / "new.mp4")
    assert lost == "lost 1 of 30 packets of film to damage"
    np.testing.assert_allclose([time for time, _ in seen], np.delete(np.arange(30), 9) / 25, atol=1e-3)
    assert len(read(tmp_path / "new.mp4")[0]) == 29


@pytest.mark.parametrize(("aspect", "shown"), [(Fraction(16, 11), (104, 48)), (Fraction(10, 11), (72, 52))])
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, shown):
    y, x = np.mgrid[:48, :72]
    stored = (100 + 60 * np.sin(x / 9) + y).astype(np.uint8)[..., None].repeat(3, 2)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        film = container.add_stream("mpeg4", rate=10, options={"qscale": "2"})
        film.width, film.height, film.pix_fmt, film.sample_aspect_ratio = 72, 48, "yuv420p", aspect
        for packet in [*film.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")), *film.encode(None)]:
            container.mux(packet)
    expected = np.asarray(Image.fromarray(stored).resize(shown, Image.Resampling.BILINEAR), float)
    _, ((_, seen),) = change(tmp_path / "a.mp4", tmp_path / "new.mp4")
    assert np.abs(seen - expected).mean() < 3
    (((_, written),), _, _) = read(tmp_path / "new.mp4")
    assert np.abs(written - expected).mean() < 4
    (frame,) = recordings.decode(tmp_path / "a.mp4", 1000, 10, RATE).frames
    (tmp_path / "frame.jpg").write_bytes(frame)
    assert np.abs(np.asarray(Image.open(tmp_path / "frame.jpg"), float) - expected).mean() < 4


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("a.mov", "pcm_s16le", RATE, 1),
        ("a.avi", "pcm_u8", 11025, 2),
        ("a.mkv", "pcm_s24le", 48000, 6),
        ("a.avi", "adpcm_ms", 22050, 1),
    ],
)
def test_sound_that_mp4_does_not_hold_is_encoded_anew(tmp_path, name, codec, rate, channels):
    """A tone that begins at half a second is heard from there on, in all channels."""
    times = np.arange(round(1.5 * rate)) / rate
    sound = np.tile(np.where(times < 0.5, 0, 0.5 * np.sin(2 * np.pi * 700 * times)), [channels, 1])
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    path = tmp_path / name
    write(path, np.arange(38) / 25, sounds=[sound], sound_rate=rate, layout=layout, sound_codec=codec)
    assert change(path, tmp_path / "new.mp4")[0] == ""
    with av.open(str(tmp_path / "new.mp4")) as film:
        made = film.streams.audio[0]
        assert (made.codec.name, made.rate, made.layout.name) == ("aac", rate, layout)
    _, heard, start = read(tmp_path / "new.mp4")
    begins = start + np.argmax(np.abs(heard) > 0.1) / rate
    assert begins == pytest.approx(0.5, abs=0.02)
    assert loudest(heard[-rate // 2 :], rate) == pytest.approx(700, abs=6)
