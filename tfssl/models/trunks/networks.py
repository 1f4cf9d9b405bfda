"""Networks of others as bodies of trunks: those of `keras.applications` by name, stages by one rule, scaling inside."""

import inspect
import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfssl.base.errors import UserError
from tfssl.models.trunks import DEVIATION, MEAN
from tfssl.models.trunks.applications import staged
from tfssl.models.trunks.scaling import copy_weights

Builder = Callable[..., keras.Model]


def builders() -> dict[str, Builder]:
    """Return the functions of keras.applications that build networks, by their names in small letters and digits."""
    found = inspect.getmembers(keras.applications, inspect.isfunction)
    return {name.lower(): function for name, function in found}


def find(name: str) -> Builder | None:
    """Return what builds a network named in any spelling ('convnext_tiny', 'ConvNeXtTiny'); None where nothing does."""
    return builders().get(name.lower().replace("_", ""))


def scaling_advice(given: str, body: keras.Model) -> str:
    """Return what to say of a network that looks like one of `keras.applications` and was given without its scaling.

    Its name is all there is to see it by. Standardised pictures look all but black to it, and nothing fails.

    Args:
      given: the file, or what to call a model in Python.
      body: the trunk's body.

    Returns:
      A sentence without its full stop; "" where its name is another one.
    """
    name, known = re.sub("[^a-z0-9]", "", body.name.lower()), builders()
    found = max((each for each in known if name.startswith(each)), key=len, default="")
    if not found:
        return ""
    function = known[found].__name__
    file = given if given.endswith(".keras") else "FILE"
    return (
        f"{given} has the name of keras.applications.{function}, whose weights want pictures as its preprocess_input"
        f' makes them, and gets them standardised; give "{function}(weights={file!r})", with its other settings,'
        " unless it learned from standardised pictures"
    )


def build(builder: Builder, size: int, settings: Mapping[str, Any], text: str) -> keras.Model:
    """Build a network without its classifier, with new weights, for pictures of any size where it can be.

    Where maps have odd sides, strides of some networks then leave a row and a column less than in a network that is
    built for this size alone; it is Keras's own doing.

    Args:
      builder: of `keras.applications`.
      size: pixels of a side that it must take.
      settings: arguments of the function.
      text: what the user gave.

    Raises:
      UserError: a setting or a size that it does not take.
    """
    problem: Exception | None = None
    for side in (None, size):
        try:
            model = bare(builder, side, None, settings)
            if min(model.compute_output_shape((1, size, size, 3))[1:3]) > 0:
                return model
            problem = problem or ValueError(f"nothing is left of maps of {size} pixels")
        except (ValueError, TypeError) as trouble:  # NASNet knows the sizes of its maps, or it cannot join them
            problem = trouble
    assert problem is not None
    raise UserError(f"{text} cannot be built for {size} pixels ({reason(problem)})") from problem


def bare(builder: Builder, side: int | None, weights: str | None, settings: Mapping[str, Any]) -> keras.Model:
    """Call a builder for a network without its classifier."""
    with warnings.catch_warnings():
        # Of MobileNet: that there are no weights of its own for this size, and those for 224 pixels are taken.
        warnings.filterwarnings("ignore", ".*input_shape.*undefined or non-square")
        return builder(include_top=False, input_shape=(side, side, 3), weights=weights, **settings)


def preprocessing_of(builder: Builder) -> Callable[[Any], Any]:
    """Return what the networks of a function of `keras.applications` want done to grey levels of 0 to 255."""
    return sys.modules[builder.__module__].preprocess_input


def as_body(
    model: keras.Model, preprocess: Callable[[Any], Any], size: int, ends: tuple[str, ...] | None = None
) -> keras.Model:
    """Make the body of a trunk of a network: standardised pictures in, as tasks make them, and its stages named.

    What `make_pixels` does to pictures is undone, and what the network wants done is done to grey levels of 0 to
    255: so patches that a task standardised itself look to the network as patches of photos do.

    Args:
      model: float [N, H, W, 3] -> float [N, h, w, C], without its classifier.
      preprocess: what the network wants done to grey levels of 0 to 255; see `preprocessing_of`.
      size: pixels of a side that stages are told apart at.
      ends: the layers that become stage1, stage2 and on; those of `ends_of` where None.

    Returns:
      A copy with the same weights.
    """
    ends = ends_of(model, size) if ends is None else ends
    pixels = keras.Input(model.input_shape[1:], name="standardised")
    grey = keras.layers.Rescaling(255 * DEVIATION, 255 * MEAN, dtype="float32", name="grey_levels")(pixels)
    # `call` in place of calling: the layers are then those of the new model, and not of a model within it.
    whole = keras.Model(pixels, model.call(preprocess(grey)))
    body = staged(whole, ends)
    copy_weights(whole, body)
    return body


def ends_of(model: keras.Model, size: int) -> tuple[str, ...]:
    """Return the last operation at each resolution (rounded to a halving) that every path through a network passes.

    Args:
      model: float [N, H, W, 3] -> float [N, h, w, C].
      size: pixels of a side that resolutions are compared at, where the network takes any.
    """
    operations = model.operations
    place = {id(operation): number for number, operation in enumerate(operations)}
    # The last operation that reads what an operation gives; Keras has no public list of it.
    read_by = dict.fromkeys(range(len(operations)), 0)
    for number, operation in enumerate(operations):
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                source = place.get(id(tensor._keras_history.operation))
                if source is not None:  # layers may be those of another model, too
                    read_by[source] = max(read_by[source], number)
    passed, farthest = [], 0
    for number, operation in enumerate(operations):
        shape: tuple[Any, ...] = getattr(operation.output, "shape", ())
        is_padded = isinstance(operation, keras.layers.ZeroPadding2D)
        # What has three channels is the picture still.
        if farthest <= number and not is_padded and len(shape) == 4 and shape[3] > 3:
            passed.append(operation)
        farthest = max(farthest, read_by[number])
    maps = keras.Model(model.inputs[0], [operation.output for operation in passed])
    shapes = maps.compute_output_shape((1, size, size, 3))
    # The last one at a resolution takes the place of those before it.
    ends = {round(math.log2(size / shape[1])): each.name for each, shape in zip(passed, shapes, strict=True)}
    return tuple(ends.values())


def reason(problem: Exception) -> str:
    """Return the first line of what an exception says, without its full stop."""
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(problem).__name__
