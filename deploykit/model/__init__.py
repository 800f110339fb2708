"""The words that every other package shares: errors, verdicts, versions, releases. Standard library only, no I/O."""

from deploykit.model.errors import DeploykitError, InconclusiveError, Problem, UsageError
from deploykit.model.release import Labels, ReleaseOutcome, ReleaseRecord
from deploykit.model.repository import RepositoryIdentity
from deploykit.model.secret import Secret
from deploykit.model.verdict import Evidence, Finding, Outcome, Severity, Verdict

__all__ = [
    "DeploykitError",
    "Evidence",
    "Finding",
    "InconclusiveError",
    "Labels",
    "Outcome",
    "Problem",
    "ReleaseOutcome",
    "ReleaseRecord",
    "RepositoryIdentity",
    "Secret",
    "Severity",
    "UsageError",
    "Verdict",
]
