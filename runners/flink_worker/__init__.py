"""Where launchers that development versions have written look for the boot script; goes with 0.2.0."""
