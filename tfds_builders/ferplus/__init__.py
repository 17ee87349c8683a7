"""FER+; see README.md."""
