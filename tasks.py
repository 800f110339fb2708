"""The tasks of this repository: the kit's own. Try `invoke --list`."""

from deploykit.tasks import collection

namespace = collection()
