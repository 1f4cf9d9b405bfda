"""Tensors as gRPC has them: TensorProto to numpy and back. What strangers send is checked before it is unpacked."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tfssl.export.server.errors import invalid
from tfssl.export.server.model import Spec

# TensorFlow Serving fills these fields, and many a client reads them; `tf.make_tensor_proto` fills `tensor_content`.
FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


def to_array(proto: tensor_pb2.TensorProto, spec: Spec, most: int) -> np.ndarray:
    """Read a tensor of a request.

    Args:
      proto: as it was sent. One value may stand for all of its kind, as in TensorFlow.
      spec: what it must be.
      most: bytes that it may take: a shape of millions may be claimed in a few bytes.

    Raises:
      RequestError: another dtype or shape, or more or fewer values than the shape has.
    """
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise invalid(f"input {spec.name} has no full shape")
    try:
        dtype = tf.as_dtype(proto.dtype)
    except TypeError:
        raise invalid(f"input {spec.name} has an unknown dtype, {proto.dtype}") from None
    spec.check(dtype, shape)
    count, size = math.prod(shape), 8 if dtype == tf.string else dtype.size
    if count * size > most:
        raise invalid(f"input {spec.name} has the shape {shape}: {count * size:,} bytes, expected at most {most:,}")
    given = len(getattr(proto, FIELDS.get(dtype, "half_val")))
    if proto.tensor_content:
        fits = dtype != tf.string and len(proto.tensor_content) == count * size
    else:
        fits = given == count or (0 < given < count and dtype != tf.string)
    if not fits:
        raise invalid(f"input {spec.name} has the shape {shape}, but other than its {count} values")
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError) as problem:
        raise invalid(f"input {spec.name} cannot be read: {problem}") from problem


def to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Write a tensor of an answer, in the field of its dtype; strings are arrays of objects."""
    dtype = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if dtype not in FIELDS:
        return tf.make_tensor_proto(array)
    values: dict[str, Any] = {FIELDS[dtype]: array.ravel().tolist()}
    return tensor_pb2.TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(array.shape).as_proto(), **values
    )
