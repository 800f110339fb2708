"""Rollouts: pure strategies, and the engine that journals and acts."""

from deploykit.rollout.actions import Action, Kind, Observation, Result
from deploykit.rollout.decide import State, begin, decide, fold
from deploykit.rollout.engine import Cancelled, Engine, Journal, JournalledStep, Performer, UndecidedError
from deploykit.rollout.plan import Plan, Stage
from deploykit.rollout.stages import Members, make_stages
from deploykit.rollout.strategy import DEFAULT_STEPS, CanaryStep, Strategy

__all__ = [
    "DEFAULT_STEPS",
    "Action",
    "CanaryStep",
    "Cancelled",
    "Engine",
    "Journal",
    "JournalledStep",
    "Kind",
    "Members",
    "Observation",
    "Performer",
    "Plan",
    "Result",
    "Stage",
    "State",
    "Strategy",
    "UndecidedError",
    "begin",
    "decide",
    "fold",
    "make_stages",
]
