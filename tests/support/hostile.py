"""What strangers send: requests from a seed that ought to be refused, or answered, and never to do harm."""

import base64
import dataclasses
import functools
import io
import json
import random
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests.export.limits_test import gif_bomb, png_bomb


@dataclasses.dataclass(frozen=True)
class Hostile:
    """One request.

    Attributes:
      kind: what is wrong with it.
      signature: that it asks.
      inputs: arrays by name; bytes in arrays of objects.
      body: sent in place of them over REST.
    """

    kind: str
    signature: str
    inputs: dict[str, np.ndarray] | None = None
    body: bytes | None = None

    def as_json(self) -> bytes:
        """The body of a REST request."""
        if self.body is not None:
            return self.body
        inputs = {name: _plain(array) for name, array in self.inputs.items()}
        return json.dumps({"signature_name": self.signature, "inputs": inputs}).encode()


def _plain(array: np.ndarray) -> object:
    if array.dtype != object:
        return array.tolist()
    flat = [{"b64": base64.b64encode(one).decode()} for one in array.ravel()]
    return np.array([*flat, None], object)[:-1].reshape(array.shape).tolist()


class Generator:
    """Hostile requests for an export with pictures of `size` pixels and windows of `samples` samples.

    Args:
      seed: the same one gives the same requests.
      size: pixels of a side.
      samples: of a waveform; None where there is no such signature.
    """

    def __init__(self, seed: int, size: int, samples: int | None):
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._size, self._samples = size, samples
        self._seeds = [_encoded(kind, side, self._numbers) for kind in _KINDS for side in (24, 150, 400)]
        self._bombs = _bombs()

    def requests(self, count: int) -> Iterator[Hostile]:
        """`count` of them."""
        ways: list[tuple[int, Callable[[], Hostile]]] = [(60, self._pictures), (12, self._tensor), (28, self._body)]
        weights = [weight for weight, _ in ways]
        for _ in range(count):
            yield self._random.choices(ways, weights)[0][1]()

    def _pictures(self) -> Hostile:
        kind, data = self._mutated() if self._random.random() < 0.97 else self._random.choice([*self._bombs.items()])
        rows = [data] * self._random.choice([1, 1, 1, 2, 5])
        if self._random.random() < 0.3:
            rows.append(self._random.choice(self._seeds))
        return Hostile(kind, "serving_default", {"image_bytes": _objects(rows)})

    def _mutated(self) -> tuple[str, bytes]:
        data = bytearray(self._random.choice(self._seeds))
        way = self._random.choice(["cut", "bits", "bytes", "header", "repeated", "joined", "noise", "empty", "size"])
        place = self._random.randrange(len(data))
        if way == "cut":
            del data[place:]
        elif way == "bits":
            for _ in range(self._random.choice([1, 3, 30, 300])):
                data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        elif way == "bytes":
            data[place : place + 8] = self._random.randbytes(8)
        elif way == "header":
            for _ in range(self._random.choice([1, 2, 5])):
                data[self._random.randrange(min(40, len(data)))] = self._random.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif way == "repeated":
            end = min(len(data), place + self._random.randrange(1, 400))
            data[place:place] = data[place:end] * self._random.choice([1, 10, 200])
        elif way == "joined":
            data += self._random.choice(self._seeds)
        elif way == "noise":
            data = bytearray(data[: self._random.choice([2, 4, 8, 16, 40])]) + self._random.randbytes(place)
        elif way == "size":  # where each format has its size
            for at in (6, 8, 16, 18, 20, 22, 24, 26):
                if self._random.random() < 0.4 and at + 2 <= len(data):
                    data[at : at + 2] = self._random.choice([b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x40\0", b"\0\x40"])
        else:
            starts = [b"", b"\0", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF"]
            data = bytearray(self._random.choice(starts))
        return f"a picture, {way}", bytes(data)

    def _tensor(self) -> Hostile:
        size, one = self._size, self._numbers.integers(0, 256, (1, self._size, self._size, 3)).astype(np.uint8)
        wrong: dict[str, tuple[str, dict[str, np.ndarray]]] = {
            "floats for pixels": ("pixels", {"pixels": one / 255}),
            "wide integers for pixels": ("pixels", {"pixels": one.astype(np.int64) * 1000}),
            "no batch": ("pixels", {"pixels": one[0]}),
            "another size": ("pixels", {"pixels": np.zeros((1, size + 1, size, 3), np.uint8)}),
            "no rows": ("pixels", {"pixels": one[:0]}),
            "100,000 rows of nothing": ("serving_default", {"image_bytes": _objects([b""] * 100_000)}),
            "300 rows of pixels": ("pixels", {"pixels": np.repeat(one, 300 if size < 40 else 257, 0)}),
            "numbers for pictures": ("serving_default", {"image_bytes": np.arange(3.0)}),
            "pictures two deep": ("serving_default", {"image_bytes": _objects([b"x"]).reshape(1, 1)}),
            "a scalar": ("serving_default", {"image_bytes": np.array(b"x", object)}),
            "strings for pixels": ("pixels", {"pixels": _objects([b"x"])}),
            "an unknown input": ("serving_default", {"picture": _objects([b"x"])}),
            "no input": ("serving_default", {}),
            "two inputs": ("serving_default", {"image_bytes": _objects([b"x"]), "pixels": one}),
            "an unknown signature": ("serve", {"image_bytes": _objects([b"x"])}),
        }
        if self._samples is not None:
            wave = self._numbers.uniform(-1, 1, (3, self._samples)).astype(np.float32)
            broken = wave.copy()
            broken[0, 5], broken[1, 7] = np.nan, -np.inf
            wrong |= {
                "NaN in sound": ("waveform", {"waveform": broken}),
                "loud sound": ("waveform", {"waveform": wave * 1e30}),
                "short sound": ("waveform", {"waveform": wave[:, 1:]}),
                "double sound": ("waveform", {"waveform": wave.astype(np.float64)}),
                "sound without a batch": ("waveform", {"waveform": wave[0]}),
            }
        kind = self._random.choice([*wrong])
        return Hostile(kind, *wrong[kind])

    def _body(self) -> Hostile:
        deep = self._random.choice([50, 1000, 100_000])
        good = json.dumps({"instances": [{"b64": base64.b64encode(self._seeds[0]).decode()}]}).encode()
        cut = good[: self._random.randrange(len(good))]
        flipped = bytearray(good)
        for _ in range(self._random.choice([1, 4, 40])):
            flipped[self._random.randrange(len(good))] = self._random.randrange(256)
        bodies: dict[str, bytes] = {
            "nothing": b"",
            "no JSON": self._random.randbytes(200),
            "JSON that breaks off": cut,
            "JSON with wrong bytes": bytes(flipped),
            "deep lists": b'{"instances":' + b"[" * deep + b"]" * deep + b"}",
            "deep lists without an end": b"[" * deep,
            "deep objects": b'{"instances":' + b'{"a":' * deep + b"1" + b"}" * deep + b"}",
            "another type": self._random.choice([b"[]", b"3", b"null", b'"x"', b"true", b"NaN"]),
            "neither format": b'{"instance": ["x"]}',
            "both formats": b'{"instances": ["x"], "inputs": ["x"]}',
            "no list": self._random.choice([b'{"instances": {"a": 1}}', b'{"instances": 3}', b'{"inputs": null}']),
            "ragged": b'{"signature_name": "pixels", "instances": [[[[1,2,3]]], [[[1,2]]]]}',
            "ragged in depth": b'{"signature_name": "pixels", "instances": [[[[1,2,3]]], [[[1,2,[3]]]]]}',
            "numbers and strings": b'{"signature_name": "pixels", "instances": [[[[1,"2",3]]]]}',
            "a huge number": b'{"signature_name": "pixels", "instances": [[[[' + b"9" * 5000 + b",2,3]]]]}",
            "numbers out of range": b'{"signature_name": "pixels", "instances": [[[[-1,256,1e400]]]]}',
            "NaN for pixels": b'{"signature_name": "pixels", "instances": [[[[NaN,Infinity,-Infinity]]]]}',
            "null": b'{"instances": [null, null]}',
            "b64 that is none": b'{"instances": [{"b64": "?"}, {"b64": 3}, {"b64": "QUJD", "c": 1}]}',
            "half a surrogate": b'{"instances": ["\\ud800"]}',
            "a signature that is no string": b'{"signature_name": ["a"], "instances": ["x"]}',
            "values and objects": b'{"instances": ["x", {"image_bytes": "x"}]}',
            "100,000 rows": b'{"instances": [' + b'"",' * 99_999 + b'""]}',
            "many empty lists": b'{"instances": [' + b"[]," * 200_000 + b"[]]}",
            "many keys": b'{"inputs": {' + b",".join(b'"%d":1' % number for number in range(20_000)) + b"}}",
        }
        kind = self._random.choice([*bodies])
        return Hostile(kind, "serving_default", body=bodies[kind])


_KINDS = ("JPEG", "progressive", "PNG", "GIF", "WEBP", "BMP")


@functools.cache
def _bombs() -> dict[str, bytes]:
    """They take 3 s to make, and are the same whatever the seed."""
    return {
        "a PNG of 30,000 x 30,000": png_bomb(),
        "a PNG of 4,000 x 4,000": png_bomb(4000),
        "an animated GIF of 600 MB": gif_bomb(),
        "a GIF of tiny blocks": _tiny_blocks(60_000),
        "a progressive JPEG of many scans": _many_scans(1500, 400),
    }


def _encoded(kind: str, side: int, numbers: np.random.Generator) -> bytes:
    coarse = Image.fromarray(numbers.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    image, file = coarse.resize((side, side + side // 3), Image.Resampling.BICUBIC), io.BytesIO()
    image.save(file, "JPEG", progressive=True) if kind == "progressive" else image.save(file, kind)
    return file.getvalue()


def _objects(rows: list[bytes]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def _tiny_blocks(count: int) -> bytes:
    """A GIF with a comment of `count` blocks of a byte, and as many extensions that hold nothing."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (250, 10, 10)).save(file, "GIF")
    data = file.getvalue()
    at = data.index(b"\x2c", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    return data[:at] + b"\x21\xfe" + b"\x01x" * count + b"\x00" + b"\x21\xfe\x00" * count + data[at:]


def _many_scans(side: int, count: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (200, 40, 90)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def lying_protos(signature: str, name: str) -> list[bytes]:
    """Serialised PredictRequests whose tensors are not what they say."""
    from tensorflow_serving.apis import predict_pb2

    made = []
    for fill in (
        lambda tensor: _shape(tensor, [100_000, 100_000]).float_val.append(1.0),
        lambda tensor: _shape(tensor, [2**40]).int_val.append(1),
        lambda tensor: _shape(tensor, [-5]).string_val.append(b"x"),
        lambda tensor: _shape(tensor, [3]).string_val.append(b"x"),
        lambda tensor: _shape(tensor, []).string_val.append(b"x"),
        lambda tensor: setattr(_shape(tensor, [4]), "tensor_content", b"12345"),
        lambda tensor: setattr(_shape(tensor, [2**62, 2**62]), "tensor_content", b"12345"),
        lambda tensor: setattr(tensor.tensor_shape, "unknown_rank", True),
    ):
        for dtype in (0, 1, 4, 7, 9, 20, 21, 23, 120, 9999):
            request = predict_pb2.PredictRequest(model_spec={"name": "encoder", "signature_name": signature})
            request.inputs[name].dtype = dtype
            fill(request.inputs[name])
            made.append(request.SerializeToString())
    return made


def _shape(tensor, sizes: list[int]):
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor
