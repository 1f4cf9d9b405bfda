"""Tensors as REST has them: JSON in row format ("instances") and in column format ("inputs"), to numpy and back.

As TensorFlow Serving's "RESTful API" says, https://www.tensorflow.org/tfx/serving/api_rest.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.export.server.errors import invalid
from tfssl.export.server.model import DEFAULT, Model, Spec, check_names

MOST_LISTS = 2**22
"""Lists and objects of a request: empty ones take three bytes each as text, and sixty as objects of Python."""
_SPACE = b" \t\r\n\f\v"
"""What base64 may have between its letters, as in TensorFlow Serving: MIME and Python's `encodebytes` break lines."""


def read_request(body: bytes, model: Model) -> tuple[str, dict[str, np.ndarray], bool]:
    """Read the signature, its inputs and whether they came in row format. Raise RequestError."""
    document = _parse(body)
    signature = document.get("signature_name", DEFAULT)
    if not isinstance(signature, str):
        raise invalid("'signature_name' key must be a string value.")
    signature = signature or DEFAULT
    specs = model.specs(signature)
    if "instances" in document and "inputs" in document:
        raise invalid("expecting only one of 'inputs' or 'instances' keys to exist")
    if "instances" in document:
        columns = _columns(document["instances"], specs)
    elif "inputs" in document:
        columns = document["inputs"]
        if not isinstance(columns, dict) or _is_base64(columns):
            columns = {_only(specs): columns}
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    check_names(specs, columns)
    arrays = {name: _array(columns[name], spec) for name, spec in specs.items()}
    return signature, arrays, "instances" in document


def write_answer(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Write the body of an answer: "predictions" for the row format, else "outputs"; one output alone has no name."""
    values = {name: _values(name, array) for name, array in outputs.items()}
    if not rows:
        return _text({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    counts = {array.shape[:1] for array in outputs.values()}
    if len(counts) > 1 or () in counts:
        raise invalid("the outputs differ in their first dimension; ask with 'inputs' in place of 'instances'")
    if len(values) == 1:
        return _text({"predictions": next(iter(values.values()))})
    return _text({"predictions": [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]})


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()


def _parse(body: bytes) -> dict[str, Any]:
    if body.count(b"[") + body.count(b"{") > MOST_LISTS:
        raise invalid(f"the request has more than {MOST_LISTS} lists and objects; send several, or gRPC")
    try:
        document = json.loads(body)
    except RecursionError:
        raise invalid("JSON Parse error: nested too deep") from None
    except ValueError as problem:  # neither JSON nor UTF-8; whole numbers of thousands of digits
        raise invalid(f"JSON Parse error: {problem}") from None
    if not isinstance(document, dict):
        raise invalid(f"the request is {_kind(document)}, expected an object with 'instances' or 'inputs'")
    return document


def _columns(instances: Any, specs: Mapping[str, Spec]) -> dict[str, list[Any]]:
    """Turn rows, of values or of objects by name, into one list a name."""
    if not isinstance(instances, list):
        raise invalid(f"'instances' is {_kind(instances)}, expected a list")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = [isinstance(each, dict) and not _is_base64(each) for each in instances]
    if not any(named):
        return {_only(specs): instances}
    if not all(named):
        raise invalid(f"item {named.index(False)} of 'instances' is no object as others are")
    for number, each in enumerate(instances):
        if each.keys() != specs.keys():
            raise invalid(f"the keys of item {number} of 'instances' must be equal to: {', '.join(specs)}")
    return {name: [each[name] for each in instances] for name in specs}


def _only(specs: Mapping[str, Spec]) -> str:
    if len(specs) != 1:
        raise invalid(f"a plain list is given, but the signature has several inputs: {', '.join(specs)}")
    return next(iter(specs))


def _array(value: Any, spec: Spec) -> np.ndarray:
    """Read nested lists as an array; level by level, so that nothing is made before its size is known to be right."""
    level, shape = [value], []
    while level and all(type(each) is list for each in level):
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise invalid(f"input {spec.name} is ragged: lists of {min(lengths)} and of {max(lengths)} at one level")
        shape.append(lengths.pop())
        level = list(itertools.chain.from_iterable(level))
        if spec.shape is not None and len(shape) > len(spec.shape):
            break
    if any(type(each) is list for each in level) and not all(type(each) is list for each in level):
        raise invalid(f"input {spec.name} is ragged: lists and values at one level")
    if not level and spec.shape is not None:  # an empty list does not tell what its rows would be
        shape = [*shape, *(each or 0 for each in spec.shape[len(shape) :])]
    spec.check(spec.dtype, shape)
    return _leaves(level, spec).reshape(shape)


def _leaves(values: list[Any], spec: Spec) -> np.ndarray:
    kinds = set(map(type, values))
    if spec.dtype == tf.string:
        array = np.empty(len(values), object)
        array[:] = [_bytes(value, spec) for value in values]
        return array
    allowed = {bool} if spec.dtype.is_bool else {int} if spec.dtype.is_integer else {int, float}
    if not kinds <= allowed:
        wrong = next(value for value in values if type(value) not in allowed)
        raise invalid(f"input {spec.name} has {_kind(wrong)} in it, expected {spec.dtype.name} only")
    try:
        with np.errstate(over="ignore"):  # of what is too large for float32, infinity: refused by the graph
            return np.array(values, spec.dtype.as_numpy_dtype)
    except OverflowError:
        raise invalid(f"input {spec.name} has a number in it that is out of range for {spec.dtype.name}") from None


def _bytes(value: Any, spec: Spec) -> bytes:
    if _is_base64(value):
        try:
            return base64.b64decode(value["b64"].encode("ascii").translate(None, _SPACE), validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"input {spec.name} has a b64 that is not base64") from None
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise invalid(f"input {spec.name} has half a surrogate pair in it; send bytes as {{'b64': ...}}") from None
    raise invalid(f"input {spec.name} has {_kind(value)} in it, expected a string or {{'b64': ...}}")


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _values(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        if name.endswith("_bytes"):
            return _map_values(array, lambda data: {"b64": base64.b64encode(data).decode()})
        return _map_values(array, lambda data: data.decode(errors="replace"))
    if array.dtype == np.float32:
        # The shortest digits that give the same float32, as TensorFlow Serving writes them: 0.1, no 0.10000000149.
        return array.astype("U").astype(np.float64).tolist()
    return array.tolist()


def _map_values(array: np.ndarray, function: Any) -> Any:
    flat = np.empty(array.size, object)
    flat[:] = [function(value) for value in array.ravel()]
    return flat.reshape(array.shape).tolist()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number"}
    return names.get(type(value), "null" if value is None else "a decimal number")
