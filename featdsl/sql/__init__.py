"""Users' SQL: fill templates, parse, compare, and trace column lineage."""
