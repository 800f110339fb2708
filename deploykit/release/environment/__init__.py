"""One app in one environment: its parts, its lock, and the versions that can be run in it."""

from deploykit.release.environment.environment import Environment, open_environment

__all__ = ["Environment", "open_environment"]
