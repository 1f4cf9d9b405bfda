"""Code for the graph that says itself what belongs there."""

import tensorflow as tf

explicit = tf.autograph.experimental.do_not_convert
"""Marks a function that a graph is made of and that has no Python `if`, `while` or `for` over tensors.

TensorFlow would look for these in its code and in that of all that it calls, which takes some 40 ms a function: two
seconds until a command has its first batch.
"""
