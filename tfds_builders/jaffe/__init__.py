"""JAFFE, Japanese female facial expressions."""
