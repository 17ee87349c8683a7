"""RAF-DB, basic emotions."""
