"""What can go wrong at the edge."""

from __future__ import annotations

from deploykit.model import DeploykitError

__all__ = ["ConfigRejected", "EdgeError", "LeaseEnded", "PortTaken", "RuntimeUnreachable"]


class EdgeError(DeploykitError):
    """The proxy did not do what it was asked to."""


class LeaseEnded(DeploykitError):
    """Nobody renewed the lease in time, so the stable version has all of the traffic again."""


class ConfigRejected(EdgeError):
    """HAProxy refuses the configuration; `details` are its own lines. What runs is left as it was."""


class PortTaken(EdgeError):
    """Another process listens on the public port."""


class RuntimeUnreachable(EdgeError):
    """HAProxy's runtime socket does not answer: it is not running, or not any more."""
