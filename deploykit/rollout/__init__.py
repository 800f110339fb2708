"""Rollouts: pure strategies, and the engine that journals and acts."""

from deploykit.rollout.actions import Action, Kind, Observation, Result
from deploykit.rollout.blue_green import Phase, Plan, State, begin, decide, fold
from deploykit.rollout.engine import Cancelled, Engine, Journal, JournalledStep, Performer

__all__ = [
    "Action",
    "Cancelled",
    "Engine",
    "Journal",
    "JournalledStep",
    "Kind",
    "Observation",
    "Performer",
    "Phase",
    "Plan",
    "Result",
    "State",
    "begin",
    "decide",
    "fold",
]
