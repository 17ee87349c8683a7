"""Aff-Wild2, expressions frame by frame in videos from the web."""
