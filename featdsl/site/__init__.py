"""The catalogue as a static site: pages, search and charts, made from a `CatalogueDocument` alone."""
