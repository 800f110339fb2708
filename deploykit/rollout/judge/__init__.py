"""The judge of a canary: pure, without I/O and clock. docs/judge.md explains the mathematics.

state = begin(Limits())
state = fold(state, slots)
verdict = judge(state, baked=True)
"""

from deploykit.rollout.judge.limits import Criterion, Limits
from deploykit.rollout.judge.slots import OpenSlots, Record, Requests, Slot
from deploykit.rollout.judge.state import State, begin, fold
from deploykit.rollout.judge.verdict import CanaryVerdict, Decision, judge

__all__ = [
    "CanaryVerdict",
    "Criterion",
    "Decision",
    "Limits",
    "OpenSlots",
    "Record",
    "Requests",
    "Slot",
    "State",
    "begin",
    "fold",
    "judge",
]
