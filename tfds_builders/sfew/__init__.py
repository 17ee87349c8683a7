"""SFEW 2.0, static facial expressions in the wild."""
