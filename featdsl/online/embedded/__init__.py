"""The online store in a folder of this machine."""
