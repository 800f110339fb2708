"""The release board: a small web service that shows what a team's releases report to it.

It is an application like any other. Nobody in the kit imports it and it imports nothing of the kit, so it is also
the first thing that the kit's own release path is tried on. Run it with `python -m deploykit.board --port 8000`.
"""
