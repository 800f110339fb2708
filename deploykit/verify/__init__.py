"""Observations of a version: health, smoke checks, probes."""
