"""One short plain-Python file for each result; `RECIPE` is what it holds."""
