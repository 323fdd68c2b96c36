"""Where pictures come from: photographs of the user and procedural scenes."""
