"""A server of the Model Context Protocol, by which assistants that write code find and use the features that exist."""
