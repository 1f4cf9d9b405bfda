"""Random views of pictures, as contrastive learning has them: crop, flip, colour jitter, grey, blur.

After Chen et al. 2020 (arXiv 2002.05709, appendix A), on batches, in the graph, from one seed.
"""

import tensorflow as tf

from tfssl.pipelines.decoding import random_crops
from tfssl.pipelines.ops import blur, boxes, colour_jitter, packed

AT_ONCE = 1 << 19
"""Pixels of the views that are made at once, some ten of 224 px: what lies between the steps is then used again. New
memory for a batch of them costs as much as what is computed.
"""


def draw(
    images: tf.Tensor,
    each: int,
    seed: tf.Tensor,
    *,
    area: float = 0.08,
    strength: float = 0.5,
    jitter: float = 0.8,
    grey: float = 0.2,
    blurred: float = 0.5,
) -> tf.Tensor:
    """Make `each` views of every picture, side by side, each drawn independently of all others.

    Args:
      images: uint8 [B, S, S, 3].
      each: how many views a picture has.
      seed: int32 [2].
      area: smallest part of the picture that a view shows; see `random_crops.random_box`.
      strength: of the colour jitter: 1 as for ImageNet, 0.5 as for CIFAR-10.
      jitter, grey: probabilities that a view's colours are jittered, and that it is grey.
      blurred: share of the views of a batch that are blurred; up to 32 pixels none is.

    Returns:
      uint8 [each * B, S, S, 3].
    """
    count, size = images.shape[0] * each, images.shape[1]
    box_seed, flip_seed, colour_seed, blur_seed = tf.unstack(tf.random.split(seed, 4))
    side = tf.fill([count], size)
    cut = random_crops.random_box(side, side, box_seed, (area, 1.0))
    mirrored = tf.random.stateless_uniform([count], flip_seed) < 0.5
    colours = colour_jitter.draw(count, colour_seed, strength, jitter, grey)
    chosen, deviation = blur.draw(count, size, blur_seed, blurred if size > blur.FINE else 0.0)
    packed_images = packed.pack(images)

    def some(numbers: tf.Tensor, deviation: tf.Tensor | None) -> tf.Tensor:
        """Make the views of these numbers, int32 [n], all blurred or none: uint8 [n, S, S, 3]."""
        pixels = boxes.enlarge(packed_images, tf.gather(cut, numbers), tf.gather(mirrored, numbers), numbers // each)
        if (strength and jitter) or grey:
            pixels = colour_jitter.jitter(pixels, *(tf.gather(drawn, numbers) for drawn in colours))
        return packed.unpack(pixels if deviation is None else blur.blur(pixels, deviation))

    at_once = max(1, AT_ONCE // size**2)
    numbers = _in_pieces(chosen, at_once)
    made = [some(*drawn) for drawn in zip(numbers, _in_pieces(deviation, at_once), strict=True)]
    sharp = _in_pieces(_others(chosen, count), at_once)
    made += [some(drawn, None) for drawn in sharp]
    return tf.ensure_shape(tf.dynamic_stitch(numbers + sharp, made), [count, *images.shape[1:]])


def _others(chosen: tf.Tensor, count: int) -> tf.Tensor:
    """Return the numbers below `count` that are not chosen, int32 [count - n]."""
    is_chosen = tf.scatter_nd(chosen[:, None], tf.ones_like(chosen), [count])
    return tf.argsort(is_chosen, stable=True)[: count - chosen.shape[0]]


def _in_pieces(given: tf.Tensor, most: int) -> list[tf.Tensor]:
    return [given[start : start + most] for start in range(0, given.shape[0], most)]
