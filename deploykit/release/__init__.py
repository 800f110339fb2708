"""Releases: what `invoke release`, `invoke rollback` and the commands around them do. Each folder imports downwards
only.

queries       look at an environment and change nothing
workflow      a release and a rollback, stage by stage
database      migrations and declared schema changes
housekeeping  what is due later, lost ledgers, instances of others, taking an environment down
execution     the rollout of one version: its plan, its actions, its checks
environment   one app in one environment: its parts, its lock, its versions
hosting       what differs between the kinds of target
version       one version: how it is run, its variables, its sources
reporting     progress and reports
"""
