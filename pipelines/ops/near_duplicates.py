"""Near-duplicates: pictures that are one picture to the eye, told apart from others by their pixels alone."""

import tensorflow as tf

SIDE = 16
"""Pixels of a side of the small grey picture that is compared."""
ALIKE = 0.95
"""From this cosine on two pictures are near-duplicates.

Of 80 photos all were above it after JPEG at quality 30, at half of their pixels, in grey, at 0.6 of their contrast and
1.4 times as bright, and 86 % of those whose border of 2 % was cut off. The largest cosine between different pictures
was 0.82 among 200 photos of ImageNet, 0.89 among 256 of COCO, 0.93 among 3,000 of CIFAR-10, 0.88 among 500 of the toy
world. A mirror image, and what was cropped by more, are other pictures. Where a collection was taken in one studio, two
things of one outline may pass for one: of the 43 pairs among 2,748 of Caltech-101 many are motorbikes on black.
"""
FLAT = 2.0
"""Grey levels of 255: what deviates less from its mean has no pattern to be known by, only rounding."""


def patterns(images: tf.Tensor) -> tf.Tensor:
    """Return rows whose products are cosines between small grey pictures, each without its mean.

    So neither brightness nor contrast counts. A row is shorter than 1 where the picture is flat: two empty pictures are
    no near-duplicates of one another by this rule.

    Args:
      images: uint8 [N, S, S, 3].

    Returns:
      float32 [N, SIDE * SIDE].
    """
    grey = tf.image.rgb_to_grayscale(tf.cast(images, tf.float32))
    small = tf.reshape(tf.image.resize(grey, (SIDE, SIDE), method="area"), [-1, SIDE * SIDE])
    pattern = small - tf.reduce_mean(small, 1, keepdims=True)
    return pattern / tf.maximum(tf.norm(pattern, axis=1, keepdims=True), FLAT * SIDE)
