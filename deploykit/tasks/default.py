"""The tasks file of a folder that has none of its own."""

from deploykit.tasks import collection

namespace = collection()
