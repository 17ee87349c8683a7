"""FER2013; see README.md."""
