"""The values that the application needs: where they come from, whether all are there, and keeping them out of sight."""

from deploykit.credentials.redaction import Redactor
from deploykit.credentials.values import Values, gather, is_secret_name

__all__ = ["Redactor", "Values", "gather", "is_secret_name"]
