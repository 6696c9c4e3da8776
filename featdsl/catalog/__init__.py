"""From declarations to a catalog: load modules, build definitions, bind them to sources."""
