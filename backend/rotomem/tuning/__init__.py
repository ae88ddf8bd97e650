"""Learning from clips: the pass, its losses, and tuning a network to one shot. ``rotomem.training`` builds on it."""
