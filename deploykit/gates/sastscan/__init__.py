"""The parts of the sast gate: which configuration counts, what the rules are called, what hides a finding, plain
bandit.
"""
