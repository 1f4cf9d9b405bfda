"""Boxes around things: how they are read, found and measured; the target is `downstream.dense.detection`."""
