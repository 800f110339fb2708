"""Where a service runs: what differs between the kinds of target, besides the target and the edge themselves."""
