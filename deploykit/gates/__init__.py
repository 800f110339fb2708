"""Gates: each looks at one property of a tree and answers with a Verdict, green only when it has evidence.

`run.run_gate` runs one by name, `combined_verdict.combine` makes one verdict of several, `report.render` is what a
terminal shows.
"""
