"""Reports for machines: what other programs read of a verdict. What people read is `deploykit.gates.report`."""

from __future__ import annotations

from deploykit.gates.reports.publish import FORMATS, parse_report_request, publish, write_report

__all__ = ["FORMATS", "parse_report_request", "publish", "write_report"]
