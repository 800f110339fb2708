"""The kinds of place that a release can go to: what differs between them besides target and edge is said here, once."""

from deploykit.release.places.interface import Place, Remembered, recall, remember

__all__ = ["Place", "Remembered", "recall", "remember"]
