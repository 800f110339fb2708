"""Where the app runs. `interface` has the protocol; a module for each kind of target."""
