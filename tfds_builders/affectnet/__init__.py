"""AffectNet, the manually annotated part."""
