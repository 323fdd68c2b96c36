"""The command line: one file per subcommand, loaded when chosen. It alone may import all four packages."""
