"""Find, describe and trace applied definitions."""
