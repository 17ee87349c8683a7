"""CK+, the extended Cohn-Kanade dataset."""
