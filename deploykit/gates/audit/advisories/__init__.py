"""An offline copy of an advisory database (OSV records), and the loopback server that hands it to the real scanners."""

from deploykit.gates.audit.advisories.copy import AdvisoryCopy, load_copy
from deploykit.gates.audit.advisories.server import AdvisoryServer

__all__ = ["AdvisoryCopy", "AdvisoryServer", "load_copy"]
