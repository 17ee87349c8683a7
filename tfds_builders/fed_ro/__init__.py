"""FED-RO, faces with real occlusions."""
