"""Gates: each looks at one property of a tree and answers with a Verdict, green only when it has evidence.

`run.run_gate` runs one by name, `joined.join` makes one outcome of several, `report.render` is what a terminal shows.
"""
