"""An offline copy of an advisory database (OSV records), and the loopback server that hands it to the real scanners."""

from deploykit.gates.advisories.copy import AdvisoryCopy, load_copy
from deploykit.gates.advisories.server import AdvisoryServer

__all__ = ["AdvisoryCopy", "AdvisoryServer", "load_copy"]
