"""A folder that always loads: `install` and `trial` are the faces, `switch` the one rename."""
