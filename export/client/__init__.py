"""Exports over the network, by the protocols of TensorFlow Serving."""
