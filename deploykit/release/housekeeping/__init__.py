"""What keeps an environment in order: versions to end, events to send, lost ledgers, foreign instances."""
