"""Oulu-CASIA, expressions in six kinds of light."""
